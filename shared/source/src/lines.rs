//! Text cut into lines, for local runs: a line is a record, its number is its position.

use std::io::{self, Chain, Cursor, Read};

use flate2::read::MultiGzDecoder;
use tidegate_core::{Error, Position, Result};

use crate::inflate::GZIP;
use crate::records::Records;

/// The longest line in bytes. A longer one becomes an undecodable record that keeps its first bytes.
pub const MAX_LINE_BYTES: usize = 16 << 20;

/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// Cuts a reader into lines. A stream that starts like gzip is inflated on the way.
///
/// Lines end with `\n`; a `\r` before it is not part of the line, nor is a UTF-8 byte order mark at the very start.
/// Every line is counted, from 1; blank ones give no record.
pub struct LineReader<R: Read> {
    input: Input<R>,
    buffer: Vec<u8>,
    /// What was not consumed yet is `buffer[start..end]`.
    start: usize,
    end: usize,
    line: u64,
}

enum Input<R: Read> {
    /// Nothing was read yet.
    Fresh(R),
    Plain(R),
    Gzip(Box<MultiGzDecoder<Chain<Cursor<Vec<u8>>, R>>>),
    Ended,
}

impl<R: Read> std::fmt::Debug for LineReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LineReader").field("line", &self.line).finish_non_exhaustive()
    }
}

/// A line, or what is known of it.
enum Line {
    /// `buffer[.0 .. .1]`, without its end.
    Whole(usize, usize),
    /// Longer than [`MAX_LINE_BYTES`]: its first bytes.
    TooLong(Vec<u8>),
}

impl<R: Read> LineReader<R> {
    /// A reader of lines. Nothing is read yet.
    pub fn new(reader: R) -> Self {
        Self { input: Input::Fresh(reader), buffer: Vec::new(), start: 0, end: 0, line: 0 }
    }

    /// The number of the line that was consumed last; 0 before the first.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Appends up to `count` lines that are not blank. Returns how many; fewer than `count` only at the end.
    pub fn read(&mut self, count: usize, records: &mut Records) -> Result<usize> {
        let mut taken = 0;
        while taken < count {
            let Some(line) = self.next_line()? else { break };
            let position = Position::new(self.line);
            match line {
                Line::Whole(start, end) => {
                    let text = &self.buffer[start..end];
                    if text.iter().all(u8::is_ascii_whitespace) {
                        continue;
                    }
                    records.push(position, None, None, Vec::new(), text);
                }
                Line::TooLong(head) => {
                    let reason = format!("the line is longer than {MAX_LINE_BYTES} bytes");
                    records.push_undecodable(position, None, None, Vec::new(), &head, reason);
                }
            }
            taken += 1;
        }
        Ok(taken)
    }

    /// Skips every line up to the one at `position`; the next record stands behind it.
    /// Fails when the input has fewer lines: it is not the input that was read before.
    pub fn skip_to(&mut self, position: Position) -> Result<()> {
        let target = position.sequence.as_u64().ok_or_else(|| too_short(position, self.line))?;
        while self.line < target {
            if self.start == self.end && !self.fill()? {
                return Err(too_short(position, self.line));
            }
            let rest = &self.buffer[self.start..self.end];
            let missing = target - self.line;
            let mut consumed = rest.len();
            let mut passed = 0;
            for at in memchr::memchr_iter(b'\n', rest) {
                passed += 1;
                if passed == missing {
                    consumed = at + 1;
                    break;
                }
            }
            let unfinished = passed < missing && rest.last() != Some(&b'\n');
            self.line += passed;
            self.start += consumed;
            if unfinished && !self.fill()? {
                // The last line has no end.
                self.line += 1;
            }
        }
        Ok(())
    }

    fn next_line(&mut self) -> Result<Option<Line>> {
        let mut searched = 0;
        loop {
            let rest = &self.buffer[self.start..self.end];
            if let Some(found) = memchr::memchr(b'\n', &rest[searched..]) {
                let line = self.cut(searched + found);
                self.start += searched + found + 1;
                return Ok(Some(line));
            }
            searched = rest.len();
            if searched > MAX_LINE_BYTES {
                return self.long_line().map(Some);
            }
            if !self.fill()? {
                if searched == 0 {
                    return Ok(None);
                }
                let line = self.cut(searched);
                self.start = self.end;
                return Ok(Some(line));
            }
        }
    }

    /// The line of `length` bytes at the front.
    fn cut(&mut self, length: usize) -> Line {
        let mut start = self.start;
        let mut end = start + length;
        if self.buffer[start..end].last() == Some(&b'\r') {
            end -= 1;
        }
        if self.line == 0 && self.buffer[start..end].starts_with(b"\xef\xbb\xbf") {
            start += 3;
        }
        self.line += 1;
        if end - start > MAX_LINE_BYTES {
            return Line::TooLong(self.buffer[start..start + MAX_LINE_BYTES].to_vec());
        }
        Line::Whole(start, end)
    }

    /// Keeps the head of a line that does not fit and skips the rest of it.
    fn long_line(&mut self) -> Result<Line> {
        let head = self.buffer[self.start..self.start + MAX_LINE_BYTES].to_vec();
        self.start = self.end;
        self.line += 1;
        while self.fill()? {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[self.start..self.end]) {
                self.start += at + 1;
                break;
            }
            self.start = self.end;
        }
        Ok(Line::TooLong(head))
    }

    /// Reads more behind what is there; `false` at the end of the input.
    fn fill(&mut self) -> Result<bool> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() < self.end + CHUNK {
            self.buffer.resize(self.end + CHUNK, 0);
        }
        if matches!(self.input, Input::Fresh(_)) {
            self.open()?;
            if self.end > 0 {
                return Ok(true);
            }
        }
        let room = &mut self.buffer[self.end..];
        let read = match &mut self.input {
            Input::Plain(reader) | Input::Fresh(reader) => read_some(reader, room),
            Input::Gzip(decoder) => read_some(decoder, room),
            Input::Ended => Ok(0),
        };
        let read = read.map_err(|e| failed(self.line, e))?;
        self.end += read;
        if read == 0 {
            self.input = Input::Ended;
        }
        Ok(read > 0)
    }

    /// Reads the first bytes and decides how to go on.
    fn open(&mut self) -> Result<()> {
        let Input::Fresh(mut reader) = std::mem::replace(&mut self.input, Input::Ended) else { return Ok(()) };
        while self.end < GZIP.len() {
            match read_some(&mut reader, &mut self.buffer[self.end..]).map_err(|e| failed(0, e))? {
                0 => break,
                read => self.end += read,
            }
        }
        let head = &self.buffer[..self.end];
        self.input = if head.starts_with(&GZIP) {
            let head = Cursor::new(head.to_vec());
            self.end = 0;
            Input::Gzip(Box::new(MultiGzDecoder::new(head.chain(reader))))
        } else {
            Input::Plain(reader)
        };
        Ok(())
    }
}

fn read_some(reader: &mut impl Read, room: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(room) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn failed(line: u64, e: io::Error) -> Error {
    let message = format!("the input cannot be read behind line {line}");
    match e.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            Error::invalid(message).with_source(e).with_help("it starts as gzip: check that the file is whole")
        }
        _ => Error::unavailable(message).with_source(e),
    }
}

fn too_short(position: Position, lines: u64) -> Error {
    Error::invalid(format!("the input ends at line {lines}, but line {position} of it was committed before"))
        .with_help("give the same input as before, or a state directory of its own")
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
