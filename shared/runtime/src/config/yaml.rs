//! YAML text to a tree in which everything knows its place. Values of the environment are filled in.

use std::borrow::Cow;
use std::collections::BTreeMap;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::align::align;
use super::environment;
use super::errors::Mistake;
use super::place::{Place, TextMap};

/// Bytes of a pipeline file at most.
pub const MAX_FILE_BYTES: usize = 1_000_000;

/// Values and lists in a file at most, those that anchors repeat included.
pub const MAX_NODES: usize = 50_000;

/// Lists and maps may stand so deep in each other.
pub const MAX_DEPTH: usize = 32;

/// A value, a list or a map.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where it begins.
    pub place: Place,
    /// Characters on its first line.
    pub width: usize,
    /// Behind its end.
    pub end: Place,
    /// What it is.
    pub kind: Kind,
}

/// What a [`Node`] is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// A value.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// A map, in the order of the file, no key twice.
    Mapping(Vec<Entry>),
    /// Something wrong that was reported already.
    Broken,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    /// The text, environment filled in.
    pub text: String,
    /// From the text to the file.
    pub map: TextMap,
    /// In quotes or a block: surely text.
    pub quoted: bool,
    /// Some of it came from the environment.
    pub from_environment: bool,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// Nothing: an empty value, `~` or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(s) if !s.quoted && !s.from_environment
            && matches!(s.text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What it is, for messages.
    pub fn what(&self) -> &'static str {
        match &self.kind {
            _ if self.is_null() => "nothing",
            Kind::Scalar(_) => "a value",
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a map",
            Kind::Broken => "something broken",
        }
    }

    fn count(&self) -> usize {
        match &self.kind {
            Kind::Scalar(_) | Kind::Broken => 1,
            Kind::Sequence(items) => 1 + items.iter().map(Self::count).sum::<usize>(),
            Kind::Mapping(entries) => 1 + entries.iter().map(|entry| entry.value.count()).sum::<usize>(),
        }
    }

    fn depth(&self) -> usize {
        match &self.kind {
            Kind::Scalar(_) | Kind::Broken => 0,
            Kind::Sequence(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Kind::Mapping(entries) => 1 + entries.iter().map(|entry| entry.value.depth()).max().unwrap_or(0),
        }
    }
}

/// Reads `text`. `None`: the YAML itself is broken, and the last mistake says why.
pub(super) fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>, mistakes: &mut Vec<Mistake>) -> Option<Node> {
    if text.len() > MAX_FILE_BYTES {
        let size = text.len();
        mistakes.push(
            Mistake::of_file(format!("the file has {size} bytes, at most {MAX_FILE_BYTES} are read"))
                .with_help("a pipeline file holds SQL and settings; keep data outside of it"),
        );
        return None;
    }
    let options = granit_parser::options! { flow_nesting_limit: MAX_DEPTH, block_nesting_limit: MAX_DEPTH };
    let mut builder = Builder {
        parser: Parser::new_from_str_with_options(text, options),
        text,
        env,
        mistakes,
        path: Vec::new(),
        anchors: BTreeMap::new(),
        nodes: 0,
    };
    match builder.document() {
        Ok(node) => node,
        Err(Stop::Yaml(error)) => {
            mistakes.push(yaml_mistake(&error));
            None
        }
        Err(Stop::Reported) => None,
    }
}

/// Why reading stops.
enum Stop {
    Yaml(ScanError),
    Reported,
}

impl From<ScanError> for Stop {
    fn from(error: ScanError) -> Self {
        Self::Yaml(error)
    }
}

struct Builder<'a, 'b> {
    parser: Parser<'a, StrInput<'a>>,
    text: &'a str,
    env: &'b dyn Fn(&str) -> Option<String>,
    mistakes: &'b mut Vec<Mistake>,
    path: Vec<String>,
    /// Finished anchored nodes.
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
}

impl<'a> Builder<'a, '_> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Stop> {
        loop {
            match self.parser.next_event() {
                // Another crate may have switched the parser's feature `comments` on.
                Some(Ok((event, span))) if is_content(&event) => return Ok((event, span)),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok((Event::StreamEnd, Span::default())),
            }
        }
    }

    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(..) if root.is_some() => {
                    self.mistake(span, "a second document begins here", "keep one pipeline a file; remove '---'");
                    return Ok(root);
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => root = Some(self.node(event, span)?),
            }
        }
    }

    fn mistake(&mut self, span: Span, message: impl Into<String>, help: &str) {
        let mistake =
            Mistake::new(place(span), self.path.join("."), message).with_width(self.width(span)).with_help(help);
        self.mistakes.push(mistake);
    }

    fn width(&self, span: Span) -> usize {
        span.slice(self.text).unwrap_or("").lines().next().unwrap_or("").trim_end().chars().count()
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, Stop> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            self.mistake(span, format!("more than {MAX_NODES} values"), "shorten the file");
            return Err(Stop::Reported);
        }
        if event.tag().is_some() {
            self.mistake(span, "YAML tags ('!...') mean nothing here", "remove the tag; put text in quotes");
        }
        let anchor = event.anchor_id();
        let kind = match event {
            Event::Scalar(value, style, ..) => self.scalar(&value, style, span),
            Event::SequenceStart(..) => self.sequence()?,
            Event::MappingStart(..) => self.mapping()?,
            Event::Alias(id) => return self.alias(id, span),
            _ => Kind::Broken,
        };
        let end = if matches!(kind, Kind::Scalar(_)) { place_of(span.end) } else { place(span) };
        let width = if matches!(kind, Kind::Scalar(_)) { self.width(span) } else { 1 };
        let node = Node { place: place(span), width, end, kind };
        if let Some(id) = anchor {
            self.anchors.insert(id, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<Node, Stop> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            self.mistake(span, "an anchor cannot repeat itself", "write the value out");
            return Ok(Node { place: place(span), width: 1, end: place(span), kind: Kind::Broken });
        };
        self.nodes += node.count();
        if self.nodes > MAX_NODES || self.path.len() + node.depth() > MAX_DEPTH {
            let limits = format!("anchors repeat too much: at most {MAX_NODES} values, {MAX_DEPTH} levels deep");
            self.mistake(span, limits, "write out what is needed");
            return Err(Stop::Reported);
        }
        Ok(node)
    }

    fn scalar(&mut self, value: &str, style: ScalarStyle, span: Span) -> Kind {
        let map = align(value, span.slice(self.text).unwrap_or(""), place(span), style);
        match environment::fill(value, &map, self.env) {
            Ok(filled) => Kind::Scalar(Scalar {
                text: filled.text,
                map: filled.map,
                quoted: style != ScalarStyle::Plain,
                from_environment: filled.from_environment,
            }),
            Err(wrong) => {
                let key = self.path.join(".");
                self.mistakes.extend(wrong.into_iter().map(|wrong| {
                    Mistake::new(wrong.place, &key, wrong.message).with_width(wrong.width).with_help(wrong.help)
                }));
                Kind::Broken
            }
        }
    }

    fn sequence(&mut self) -> Result<Kind, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Kind::Sequence(items));
            }
            self.path.push(items.len().to_string());
            items.push(self.node(event, span)?);
            self.path.pop();
        }
    }

    fn mapping(&mut self) -> Result<Kind, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut known: BTreeMap<String, Place> = BTreeMap::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(Kind::Mapping(entries)),
                Event::Scalar(key, ..) => Some(key),
                event => {
                    self.mistake(span, "a key must be text", "write KEY: VALUE");
                    self.node(event, span)?;
                    None
                }
            };
            let (event, value_span) = self.next()?;
            self.path.push(key.as_deref().unwrap_or("?").to_owned());
            let value = self.node(event, value_span);
            let fine = key.filter(|key| self.key_is_fine(key, span, &known));
            self.path.pop();
            let value = value?;
            if let Some(key) = fine.map(Cow::into_owned) {
                known.insert(key.clone(), place(span));
                entries.push(Entry { key, place: place(span), value });
            }
        }
    }

    fn key_is_fine(&mut self, key: &str, span: Span, known: &BTreeMap<String, Place>) -> bool {
        if key == "<<" {
            self.mistake(span, "merge keys ('<<') are not supported", "write the keys out");
            return false;
        }
        if let Some(first) = known.get(key) {
            let message = format!("this key stands here twice, first on line {}", first.line);
            self.mistake(span, message, "remove one of the two");
            return false;
        }
        true
    }
}

/// Whether the event is part of the data.
fn is_content(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Alias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd
    )
}

fn place(span: Span) -> Place {
    place_of(span.start)
}

fn place_of(marker: granit_parser::Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

fn yaml_mistake(error: &ScanError) -> Mistake {
    let (message, help) = match error.kind() {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => ("a tab stands where YAML wants spaces".to_owned(), "indent with spaces"),
        ErrorKind::UnknownAnchor => {
            ("no anchor of this name stands before".to_owned(), "write &NAME at the value first")
        }
        ErrorKind::RecursionLimitExceeded => {
            (format!("lists and maps stand more than {MAX_DEPTH} deep in each other"), "flatten the file")
        }
        ErrorKind::UnclosedQuotedScalar => ("a quote is opened and never closed".to_owned(), "close the quote"),
        ErrorKind::UnclosedFlowCollection { open } => {
            (format!("'{open}' is opened and never closed"), "close the bracket")
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidIndentation | ErrorKind::MappingValueNotAllowed => (
            format!("this is no YAML: {error_info}", error_info = error.info()),
            "look at the indentation of this line and the one before; text with ': ' in it needs quotes, \
             or a place of its own below '|'",
        ),
        _ => (
            format!("this is no YAML: {}", error.info()),
            "look for a missing ':', quote or bracket on this line and the one before; \
             put text with ': ', '#' or a leading special character in quotes",
        ),
    };
    Mistake::new(place_of(*error.marker()), "", message).with_help(help)
}
