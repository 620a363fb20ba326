//! From the tree to raw types: one reader that goes on after a mistake, so that all of them are found.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::Duration;

use tidegate_core::units::{format_duration, parse_duration, parse_size};

use super::errors::Mistake;
use super::place::{Place, TextMap};
use super::suggest;
use super::yaml::{Kind, Node, Scalar};

/// Characters of a query or another long text at most.
pub const MAX_TEXT: usize = 200_000;

/// Characters of a name, a URL or another short text at most.
pub const MAX_WORD: usize = 2_000;

/// Items of a list, entries of a map at most.
pub const MAX_ITEMS: usize = 1_000;

/// Something that can be read from the tree. `None`: a mistake was reported.
pub(super) trait Read: Sized {
    /// Reads `node`.
    fn read(node: &Node, reader: &mut Reader) -> Option<Self>;
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
    /// Characters on its first line.
    pub width: usize,
    /// The path of its key.
    pub key: String,
}

impl<T> At<T> {
    /// A mistake about this value.
    pub fn mistake(&self, message: impl Into<String>, help: impl Into<String>) -> Mistake {
        Mistake::new(self.place, &self.key, message).with_width(self.width).with_help(help)
    }
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// A key that a section knows.
pub(super) struct Key {
    pub name: &'static str,
    pub required: bool,
}

/// Collects mistakes and the places of all keys.
#[derive(Default)]
pub(super) struct Reader {
    /// What is wrong so far.
    pub mistakes: Vec<Mistake>,
    /// The place of every value that was read, by the path of its key.
    pub places: BTreeMap<String, (Place, usize)>,
    path: Vec<String>,
}

impl Reader {
    /// The path of the key that is read now.
    pub fn key(&self) -> String {
        self.path.join(".")
    }

    /// Whether values here may be secrets and must not be printed.
    pub fn secret_here(&self) -> bool {
        self.path.iter().any(|part| part == "auth")
    }

    /// Reports a mistake about `node`.
    pub fn wrong(&mut self, node: &Node, message: impl Into<String>, help: impl Into<String>) {
        let mistake = Mistake::new(node.place, self.key(), message).with_width(node.width).with_help(help);
        self.mistakes.push(mistake);
    }

    /// Reports that `node` is not what is wanted here.
    pub fn wanted<T>(&mut self, node: &Node, wanted: &str, example: &str) -> Option<T> {
        if !matches!(node.kind, Kind::Broken) {
            self.wrong(node, format!("{wanted} is expected here, not {}", node.what()), format!("write {example}"));
        }
        None
    }

    /// Reads `node` as the value of `name`.
    pub fn within<T: Read>(&mut self, name: &str, node: &Node) -> Option<At<T>> {
        self.path.push(name.to_owned());
        let key = self.key();
        self.places.insert(key.clone(), (node.place, node.width));
        let value = T::read(node, self);
        self.path.pop();
        value.map(|value| At { value, place: node.place, width: node.width, key })
    }

    /// Checks the keys of a section. `None`: it is no map.
    pub fn section(&mut self, node: &Node, keys: &[Key], later: &[(&str, &str)]) -> Option<()> {
        let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
        let Kind::Mapping(entries) = &node.kind else {
            return self.wanted(node, "a map", &format!("KEY: VALUE with these keys: {}", names.join(", ")));
        };
        for entry in entries.iter().filter(|entry| !names.contains(&entry.key.as_str())) {
            let (message, help) = match later.iter().find(|(name, _)| *name == entry.key) {
                Some((_, what)) => (format!("{what} are not supported yet"), "remove this key".to_owned()),
                None => ("there is no such key".to_owned(), suggest::help(&entry.key, &names)),
            };
            let key = if self.path.is_empty() { entry.key.clone() } else { format!("{}.{}", self.key(), entry.key) };
            let width = entry.key.chars().count();
            self.mistakes.push(Mistake::new(entry.place, key, message).with_width(width).with_help(help));
        }
        // A feature that is not built yet stands in place of what is required.
        let instead = entries.iter().any(|entry| later.iter().any(|(name, _)| *name == entry.key));
        for key in keys.iter().filter(|key| key.required && !instead) {
            if !entries.iter().any(|entry| entry.key == key.name) {
                let message = format!("the key '{}' is missing", key.name);
                self.wrong(node, message, format!("add '{}:'", key.name));
            }
        }
        Some(())
    }

    /// Checks that a section has exactly one of its `keys`, unless an unknown key was reported in its place.
    pub fn exactly_one(&mut self, node: &Node, keys: &[Key], help: &str) -> Option<()> {
        let Kind::Mapping(entries) = &node.kind else { return None };
        let known = |name: &str| keys.iter().any(|key| key.name == name);
        let found = entries.iter().filter(|entry| known(&entry.key)).count();
        if found > 1 || entries.is_empty() {
            let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
            self.wrong(node, format!("exactly one of {} is expected", names.join(", ")), help);
        }
        (found == 1).then_some(())
    }

    /// The last part of the key that is read now.
    pub fn last(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    /// The value of `name` in a section.
    pub fn field<T: Read>(&mut self, node: &Node, name: &str) -> Option<At<T>> {
        let Kind::Mapping(entries) = &node.kind else { return None };
        let entry = entries.iter().find(|entry| entry.key == name)?;
        self.within(name, &entry.value)
    }

    /// The text of a value that is not empty by accident.
    pub fn scalar<'n>(&mut self, node: &'n Node, wanted: &str, example: &str) -> Option<&'n Scalar> {
        if node.is_null() {
            self.wrong(node, format!("the value is missing: {wanted} is expected"), format!("write {example}"));
            return None;
        }
        match &node.kind {
            Kind::Scalar(scalar) => Some(scalar),
            _ => self.wanted(node, wanted, example),
        }
    }

    /// `'text'`, or a placeholder where it may be a secret.
    pub fn show(&self, scalar: &Scalar) -> String {
        if self.secret_here() {
            return "the value".to_owned();
        }
        let mut text: String = scalar.text.chars().take(60).collect();
        if text.len() < scalar.text.len() {
            text.push_str("...");
        }
        let origin = if scalar.from_environment { " (filled in from the environment)" } else { "" };
        format!("'{text}'{origin}")
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, node: &Node, words: &[(&'static str, T)], later: &[(&str, &str)]) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let scalar = self.scalar(node, "a word", &names.join(" or "))?;
        if let Some((_, value)) = words.iter().find(|(name, _)| *name == scalar.text) {
            return Some(*value);
        }
        if let Some((name, why)) = later.iter().find(|(name, _)| *name == scalar.text) {
            self.wrong(node, format!("'{name}' is not supported yet: {why}"), format!("write {}", names.join(" or ")));
        } else {
            let message = format!("{} is not known", self.show(scalar));
            self.wrong(node, message, suggest::help(&scalar.text, &names));
        }
        None
    }

    /// A whole number from `min` to `max`.
    fn number(&mut self, node: &Node, min: u64, max: u64) -> Option<u64> {
        let range = format!("{} to {}", grouped(min), grouped(max));
        let scalar = self.scalar(node, "a whole number", &format!("a whole number, {range}"))?;
        let parsed = scalar.text.trim().parse::<u64>().ok();
        let shown = self.show(scalar);
        match parsed {
            Some(_) if scalar.quoted && !scalar.from_environment => {
                self.wrong(node, format!("{shown} is text, a number is expected"), "remove the quotes");
                None
            }
            Some(number) if (min..=max).contains(&number) => Some(number),
            Some(_) => {
                self.wrong(node, format!("{shown} is outside of {range}"), format!("write a number, {range}"));
                None
            }
            None => {
                self.wrong(node, format!("{shown} is no whole number"), format!("write a number, {range}"));
                None
            }
        }
    }
}

/// `10,000`
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Long text with the way back to the file: SQL, DDL.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub text: String,
    pub map: TextMap,
}

impl Read for Text {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let scalar = reader.scalar(node, "text", "text, over several lines behind '|'")?;
        if scalar.text.trim().is_empty() {
            reader.wrong(node, "the text is empty", "write it, over several lines behind '|'");
            return None;
        }
        if scalar.text.chars().count() > MAX_TEXT {
            let limit = grouped(MAX_TEXT as u64);
            reader.wrong(node, format!("the text has more than {limit} characters"), "split it into views");
            return None;
        }
        Some(Self { text: scalar.text.clone(), map: scalar.map.clone() })
    }
}

impl Read for String {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let scalar = reader.scalar(node, "text", "text")?;
        let wrong = match scalar.text.as_str() {
            "" => "the text is empty".to_owned(),
            text if text.chars().count() > MAX_WORD => {
                format!("the text has more than {} characters", grouped(MAX_WORD as u64))
            }
            text if text.contains(char::is_control) => {
                "the text holds a line break or another control character".into()
            }
            text => return Some(text.to_owned()),
        };
        reader.wrong(node, wrong, "write a short text on one line");
        None
    }
}

/// True or false.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag(pub bool);

impl Read for Flag {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let scalar = reader.scalar(node, "true or false", "true or false")?;
        match scalar.text.as_str() {
            "true" if !scalar.quoted || scalar.from_environment => Some(Self(true)),
            "false" if !scalar.quoted || scalar.from_environment => Some(Self(false)),
            _ => {
                let message = format!("{} is neither true nor false", reader.show(scalar));
                reader.wrong(node, message, "write true or false, without quotes");
                None
            }
        }
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> Read for Count<MIN, MAX> {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        reader.number(node, MIN, MAX).map(Self)
    }
}

/// A duration with its unit, from `MIN` to `MAX` milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lasting<const MIN: u64, const MAX: u64>(pub Duration);

impl<const MIN: u64, const MAX: u64> Read for Lasting<MIN, MAX> {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let (min, max) = (Duration::from_millis(MIN), Duration::from_millis(MAX));
        let scalar = reader.scalar(node, "a duration with its unit", "5s, 250ms, 1m, 2h or 7d")?;
        match parse_duration(&scalar.text) {
            Ok(duration) if (min..=max).contains(&duration) => return Some(Self(duration)),
            Ok(_) => {
                let range = format!("{} to {}", format_duration(min), format_duration(max));
                let message = format!("{} is outside of {range}", reader.show(scalar));
                reader.wrong(node, message, format!("write a duration, {range}"));
            }
            Err(error) => reader.unit(node, scalar, &error),
        }
        None
    }
}

/// A size with its unit, from `MIN` to `MAX` bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> Read for Size<MIN, MAX> {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let scalar = reader.scalar(node, "a size with its unit", "1MB, 64KiB or 500B")?;
        match parse_size(&scalar.text) {
            Ok(size) if (MIN..=MAX).contains(&size) => return Some(Self(size)),
            Ok(_) => {
                let range = format!("{} to {}", format_size(MIN), format_size(MAX));
                let message = format!("{} is outside of {range}", reader.show(scalar));
                reader.wrong(node, message, format!("write a size, {range}"));
            }
            Err(error) => reader.unit(node, scalar, &error),
        }
        None
    }
}

impl Reader {
    /// A value whose unit is missing or wrong.
    fn unit(&mut self, node: &Node, scalar: &Scalar, error: &tidegate_core::Error) {
        let message =
            if self.secret_here() { "the unit is missing or wrong".to_owned() } else { error.message().to_owned() };
        let origin = if scalar.from_environment { " (filled in from the environment)" } else { "" };
        self.wrong(node, format!("{message}{origin}"), error.help().unwrap_or("write the unit behind the number"));
    }
}

/// Writes a size in the largest decimal unit that divides it.
pub(super) fn format_size(bytes: u64) -> String {
    match bytes {
        b if b >= 1_000_000 && b.is_multiple_of(1_000_000) => format!("{}MB", b / 1_000_000),
        b if b >= 1_000 && b.is_multiple_of(1_000) => format!("{}KB", b / 1_000),
        b => format!("{b}B"),
    }
}

impl<T: Read> Read for Vec<At<T>> {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Kind::Sequence(items) = &node.kind else {
            return reader.wanted(node, "a list", "[a, b], with brackets even around a single item");
        };
        if items.len() > MAX_ITEMS {
            reader.wrong(node, format!("more than {} items", grouped(MAX_ITEMS as u64)), "shorten the list");
            return None;
        }
        Some(items.iter().enumerate().filter_map(|(i, item)| reader.within(&i.to_string(), item)).collect())
    }
}

impl<T: Read> Read for Box<T> {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        T::read(node, reader).map(Box::new)
    }
}

/// A map from names that the user chooses. An entry whose value is wrong keeps its name.
#[derive(Clone, Debug)]
pub(super) struct Named<T>(pub Vec<(At<String>, Option<At<T>>)>);

impl<T: Read> Read for Named<T> {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Kind::Mapping(entries) = &node.kind else {
            return reader.wanted(node, "a map", "NAME: and below it what belongs to the name");
        };
        if entries.len() > MAX_ITEMS {
            reader.wrong(node, format!("more than {} entries", grouped(MAX_ITEMS as u64)), "shorten the map");
            return None;
        }
        let entry = |entry: &super::yaml::Entry| {
            let value = reader.within::<T>(&entry.key, &entry.value);
            let prefix = reader.key();
            let key = if prefix.is_empty() { entry.key.clone() } else { format!("{prefix}.{}", entry.key) };
            let width = entry.key.chars().count();
            (At { value: entry.key.clone(), place: entry.place, width, key }, value)
        };
        Some(Self(entries.iter().map(entry).collect()))
    }
}
