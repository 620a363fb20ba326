//! Finding the column of a key: first by guessing which key comes next, then by a hash table.

use std::fmt::Write;

/// How many keys that are not declared are remembered, so that they can be guessed too.
const MAX_FOREIGN_KEYS: usize = 256;

/// The longest foreign key that is remembered, in bytes.
const MAX_FOREIGN_KEY_BYTES: usize = 256;

/// How many of the keys that usually come next are tried before the hash table.
const GUESSES: usize = 3;

const EMPTY: u16 = u16::MAX;

/// The keys of one object type.
#[derive(Debug)]
pub(crate) struct Keys {
    slots: Vec<Slot>,
    /// Open addressing; the length is a power of two and at least twice the number of slots.
    table: Vec<u16>,
    declared: usize,
    /// The key that the last object started with.
    first: u16,
}

#[derive(Debug)]
struct Slot {
    /// The first eight bytes of `quoted` and the mask of those that count: settles most comparisons.
    word: u64,
    mask: u64,
    /// The key in quotes, as JSON writes it.
    quoted: Box<[u8]>,
    /// The key itself.
    name: Box<[u8]>,
    /// The key that came behind it the last time.
    next: u16,
}

/// A place in [`Keys`]: a known key, the start of an object, or a key that is not remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u16);

impl Place {
    /// Before the first key.
    pub const START: Self = Self(u16::MAX);
    const UNKNOWN: Self = Self(u16::MAX - 1);
}

impl Keys {
    /// Keys in the order of the columns.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut keys = Self { slots: Vec::new(), table: vec![EMPTY; 16], declared: 0, first: 0 };
        for name in names {
            keys.add(name.as_bytes());
        }
        keys.declared = keys.slots.len();
        keys
    }

    /// The key at `i`, if it is one of those expected behind `place`: its place and the index behind its closing
    /// quote. Keys may be left out: the next few in the usual order are tried.
    #[inline]
    pub fn guess(&self, b: &[u8], i: usize, place: Place) -> Option<(Place, usize)> {
        let mut next = match place {
            Place::START => self.first,
            Place::UNKNOWN => return None,
            Place(slot) => self.slots[usize::from(slot)].next,
        };
        let rest = b.get(i..)?;
        let word = rest.first_chunk().map(|chunk| u64::from_le_bytes(*chunk));
        for _ in 0..GUESSES {
            let slot = self.slots.get(usize::from(next))?;
            let len = slot.quoted.len();
            let same = match word {
                Some(word) if len <= 8 => word & slot.mask == slot.word,
                Some(word) => word == slot.word && rest.get(8..len) == slot.quoted.get(8..),
                None => rest.starts_with(&slot.quoted),
            };
            if same {
                return Some((Place(next), i + len));
            }
            next = slot.next;
        }
        None
    }

    /// Finds `name` and remembers that it came behind `place`.
    pub fn learn(&mut self, name: &[u8], place: Place) -> Place {
        let found = match self.find(name) {
            Some(slot) => slot,
            None if self.slots.len() < self.declared + MAX_FOREIGN_KEYS && name.len() <= MAX_FOREIGN_KEY_BYTES => {
                self.add(name)
            }
            None => return Place::UNKNOWN,
        };
        match place {
            Place::START => self.first = found,
            Place::UNKNOWN => {}
            Place(slot) => self.slots[usize::from(slot)].next = found,
        }
        Place(found)
    }

    /// The column of a place; `None` for a key that is not declared.
    #[inline]
    pub fn column(&self, place: Place) -> Option<usize> {
        Some(usize::from(place.0)).filter(|slot| *slot < self.declared)
    }

    /// The name of a declared column.
    pub fn name(&self, column: usize) -> String {
        self.slots.get(column).map_or_else(String::new, |slot| String::from_utf8_lossy(&slot.name).into_owned())
    }

    fn find(&self, name: &[u8]) -> Option<u16> {
        let mask = self.table.len() - 1;
        let mut at = hash(name) & mask;
        loop {
            match self.table[at] {
                EMPTY => return None,
                slot if *self.slots[usize::from(slot)].name == *name => return Some(slot),
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn add(&mut self, name: &[u8]) -> u16 {
        let slot = u16::try_from(self.slots.len()).expect("MAX_COLUMNS is far below 2^16");
        // Until something is learnt, keys are expected in the order of the columns.
        let quoted = quoted(name);
        let mut head = [[0; 8]; 2];
        for (i, byte) in quoted.iter().take(8).enumerate() {
            head[0][i] = *byte;
            head[1][i] = 0xff;
        }
        let [word, mask] = head.map(u64::from_le_bytes);
        self.slots.push(Slot { word, mask, quoted, name: name.into(), next: slot.wrapping_add(1) });
        if self.slots.len() * 2 > self.table.len() {
            self.table = vec![EMPTY; self.table.len() * 2];
            for slot in 0..slot {
                self.insert(slot);
            }
        }
        self.insert(slot);
        slot
    }

    fn insert(&mut self, slot: u16) {
        let mask = self.table.len() - 1;
        let mut at = hash(&self.slots[usize::from(slot)].name) & mask;
        while self.table[at] != EMPTY {
            at = (at + 1) & mask;
        }
        self.table[at] = slot;
    }
}

/// Mixes the length, the first and the last eight bytes: enough to tell column names apart.
#[inline]
fn hash(name: &[u8]) -> usize {
    let word = |chunk: &[u8; 8]| u64::from_le_bytes(*chunk);
    let (head, tail) = match (name.first_chunk(), name.last_chunk()) {
        (Some(head), Some(tail)) => (word(head), word(tail)),
        _ => (name.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), 0),
    };
    let mixed = (head ^ tail.rotate_left(23) ^ (name.len() as u64) << 56).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 40) as usize
}

fn quoted(name: &[u8]) -> Box<[u8]> {
    let mut text = String::from("\"");
    for char in String::from_utf8_lossy(name).chars() {
        match char {
            '"' | '\\' => text.extend(['\\', char]),
            '\0'..=' ' if char != ' ' => write!(text, "\\u{:04x}", char as u32).expect("writing to a string"),
            _ => text.push(char),
        }
    }
    text.push('"');
    text.into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_what_came_before() {
        let mut keys = Keys::new(["a", "b", "c\"d"].into_iter());
        assert_eq!(keys.guess(b"\"a\":", 0, Place::START).map(|(p, end)| (keys.column(p), end)), Some((Some(0), 3)));
        let c = keys.learn(b"c\"d", Place::START);
        assert_eq!((keys.column(c), keys.name(2)), (Some(2), "c\"d".to_owned()));
        assert_eq!(keys.guess(br#""c\"d""#, 0, Place::START), Some((c, 6)));
        let foreign = keys.learn(b"x", c);
        assert_eq!(keys.column(foreign), None);
        assert_eq!(keys.guess(b"\"x\"", 0, c), Some((foreign, 3)));
        assert_eq!(keys.guess(b"\"xy\"", 0, c), None);
    }

    #[test]
    fn foreign_keys_are_bounded() {
        let mut keys = Keys::new(["a"].into_iter());
        for i in 0..10_000 {
            keys.learn(format!("key number {i}").as_bytes(), Place::START);
        }
        assert_eq!(keys.slots.len(), 1 + MAX_FOREIGN_KEYS);
        let a = keys.learn(b"a", Place::START);
        assert_eq!(keys.column(a), Some(0));
    }
}
