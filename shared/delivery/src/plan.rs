//! Rows become outbox entries. Pure: the same rows and context give the same bytes, nothing is sent.
//!
//! **Requests.** Rows are taken in order (or in that of `order_by`). A row joins the open request with the same
//! URL and headers if that has room and no later request holds the row's key; else it opens a new one. Requests
//! keep the order in which they were opened.
//!
//! **Keys.** The target's `key`, else the output's own group keys. Without either, all rows are one sequence. Where the
//! last writer wins, the URL is the key.
//!
//! **Waves.** `ordered: false`: all requests are in one wave. One sequence, `concurrency: 1`, or a fence: each request is
//! its own wave. Otherwise a request's wave is one past the latest wave that holds one of its keys.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_row::{RowConverter, SortField};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use tidegate_core::{
    CommitNumber, EffectId, Error, Generation, Incarnation, LaneId, LaneKey, OutboxEntry, RequestIndex, Result,
    Timestamp,
};

use crate::config::{BodyFormat, Idempotency, LinesTarget, RestTarget, Target};
use crate::json::{RowWriter, ValueWriter, write_string};
use crate::payload::{HttpPayload, LinesPayload, Payload};
use crate::template::{Bound, column};

/// A row whose JSON is larger is rejected, even if it is alone.
pub const MAX_ROW_BYTES: usize = 5_000_000;
/// Lines of a dry run are cut into entries of about so many bytes.
pub const LINES_ENTRY_BYTES: usize = 4_000_000;
/// Room for an id inside the body: 20 digits of commit number, a split index, field syntax.
const ID_ROOM: usize = 96;

/// Where and when rows become requests.
#[derive(Clone, Copy, Debug)]
pub struct PlanContext<'a> {
    /// The lane.
    pub lane: &'a LaneKey,
    /// The commit that will owe the requests.
    pub n: CommitNumber,
    /// The number of the first request: requests of other outputs of this commit come before it.
    pub first_index: u32,
    /// The first wave: [`Planned::next_wave`] of the output before it with the same target, else 0.
    pub first_wave: u16,
    /// The target's name in the pipeline file.
    pub target: &'a str,
    /// The output's name.
    pub output: &'a str,
    /// Now: the start of the target's memory of the ids.
    pub now: Timestamp,
    /// The output's own group keys, if it has some.
    pub key_columns: &'a [String],
    /// Committed bytes of the file (`Target::Lines`), else 0.
    pub sink_length: u64,
}

/// What [`plan`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The requests.
    pub entries: Vec<OutboxEntry>,
    /// Rows (of the batch as it was given) that cannot be sent, and why: dead letters.
    pub rejected: Vec<(u32, String)>,
    /// Bytes of the file after these entries.
    pub sink_length: u64,
    /// The first wave that none of them is in.
    pub next_wave: u16,
}

/// Turns `rows` into requests. See the module for how.
pub fn plan(target: &Target, ctx: &PlanContext<'_>, rows: &RecordBatch) -> Result<Planned> {
    match target {
        Target::Rest(rest) => plan_rest(rest, ctx, rows),
        Target::Lines(lines) => plan_lines(lines, ctx, rows),
    }
}

/// Whether rows of these columns can become requests at all: what [`plan`] would say about any row, told before there is
/// one.
pub fn check_target(target: &Target, output: &str, key_columns: &[String], schema: &SchemaRef) -> Result<()> {
    let lane = LaneKey {
        pipeline: String::new(),
        incarnation: Incarnation(0),
        generation: Generation::FIRST,
        lane: LaneId::new("source", "0"),
    };
    let ctx = PlanContext {
        lane: &lane,
        n: 1,
        first_index: 0,
        first_wave: 0,
        target: "",
        output,
        now: Timestamp(0),
        key_columns,
        sink_length: 0,
    };
    plan(target, &ctx, &RecordBatch::new_empty(Arc::clone(schema))).map(drop)
}

fn plan_lines(target: &LinesTarget, ctx: &PlanContext<'_>, rows: &RecordBatch) -> Result<Planned> {
    let writer = RowWriter::new(rows)?;
    let mut first = b"\"output\":".to_vec();
    write_string(ctx.output, &mut first);
    first.push(b',');
    let path = match target {
        LinesTarget::Stdout => None,
        LinesTarget::File(path) => Some(path.clone()),
    };
    let mut planned =
        Planned { entries: Vec::new(), rejected: Vec::new(), sink_length: ctx.sink_length, next_wave: ctx.first_wave };
    let mut lines = Vec::new();
    let mut count = 0u32;
    for row in 0..rows.num_rows() {
        writer.write_with(&first, row, &mut lines);
        lines.push(b'\n');
        count += 1;
        if lines.len() >= LINES_ENTRY_BYTES || row + 1 == rows.num_rows() {
            let length = lines.len() as u64;
            let payload = LinesPayload {
                path: path.clone(),
                offset: planned.sink_length,
                lines: std::mem::take(&mut lines).into(),
            };
            let index = planned.entries.len();
            planned.entries.push(entry(ctx, index, ctx.first_wave, count, Payload::Lines(payload).encode())?);
            planned.sink_length += length;
            count = 0;
        }
    }
    Ok(planned)
}

fn entry(ctx: &PlanContext<'_>, index: usize, wave: u16, rows: u32, payload: Bytes) -> Result<OutboxEntry> {
    let index = u32::try_from(index).ok().and_then(|index| ctx.first_index.checked_add(index));
    let index = index.ok_or_else(|| Error::invalid(format!("output '{}': too many requests", ctx.output)))?;
    Ok(OutboxEntry {
        id: EffectId { n: ctx.n, index: RequestIndex::top(index) },
        target: ctx.target.to_owned(),
        wave,
        rows,
        committed_at: ctx.now,
        payload,
    })
}

/// URL and headers of a request.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Envelope {
    url: String,
    headers: Vec<(String, String)>,
}

struct Request {
    envelope: Envelope,
    body: Vec<u8>,
    rows: u32,
    keys: Vec<u32>,
}

fn plan_rest(target: &RestTarget, ctx: &PlanContext<'_>, rows: &RecordBatch) -> Result<Planned> {
    let mut planner = Planner::new(target, ctx, rows)?;
    let mut rejected = Vec::new();
    for row in sorted(target, rows)? {
        if let Err(reason) = planner.take(row as usize) {
            rejected.push((row, reason));
        }
    }
    rejected.sort_by_key(|(row, _)| *row);
    let waves = planner.waves(ctx)?;
    let next_wave = waves.iter().max().map_or(Ok(ctx.first_wave), |last| next(*last, ctx))?;
    let mut entries = Vec::with_capacity(waves.len());
    for (i, (mut request, wave)) in planner.requests.into_iter().zip(waves).enumerate() {
        if target.batch.format == BodyFormat::JsonArray {
            request.body.push(b']');
        }
        let (headers, content_type) = content_type(request.envelope.headers, target.batch.format);
        let payload = HttpPayload {
            method: target.method,
            url: request.envelope.url,
            headers,
            content_type,
            format: target.batch.format,
            idempotency: target.idempotency.clone(),
            output: ctx.output.to_owned(),
            rows: request.body.into(),
        };
        entries.push(entry(ctx, i, wave, request.rows, Payload::Http(payload).encode())?);
    }
    Ok(Planned { entries, rejected, sink_length: ctx.sink_length, next_wave })
}

fn next(wave: u16, ctx: &PlanContext<'_>) -> Result<u16> {
    wave.checked_add(1).ok_or_else(|| {
        Error::invalid(format!("output '{}': one micro-batch needs more than 65,535 requests in sequence", ctx.output))
            .with_help("raise batch.rows of the target, or declare `key` or `ordered: false`")
    })
}

/// Takes a `Content-Type` of the target's own out of the headers.
fn content_type(mut headers: Vec<(String, String)>, format: BodyFormat) -> (Vec<(String, String)>, String) {
    let own = headers.iter().position(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let content_type = own.map(|at| headers.remove(at).1);
    let usual = if format == BodyFormat::Ndjson { "application/x-ndjson" } else { "application/json" };
    (headers, content_type.unwrap_or_else(|| usual.to_owned()))
}

/// The rows' order: stable, nulls first.
fn sorted(target: &RestTarget, rows: &RecordBatch) -> Result<Vec<u32>> {
    let count = u32::try_from(rows.num_rows()).map_err(|_| Error::invalid("a batch has more than 2^32 rows"))?;
    let mut order: Vec<u32> = (0..count).collect();
    if target.order_by.is_empty() {
        return Ok(order);
    }
    let columns =
        target.order_by.iter().map(|name| column(rows, name, "order_by").cloned()).collect::<Result<Vec<_>>>()?;
    let fields = columns.iter().map(|array| SortField::new(array.data_type().clone())).collect();
    let sort = RowConverter::new(fields).and_then(|converter| converter.convert_columns(&columns));
    let keys =
        sort.map_err(|error| Error::invalid("order_by: these columns cannot be sorted by").with_source(error))?;
    order.sort_by(|a, b| keys.row(*a as usize).cmp(&keys.row(*b as usize)));
    Ok(order)
}

/// Numbers the keys of rows in order of first appearance. Every row of a batch goes through here: the texts of all
/// keys stand in one buffer, and a number is an index.
struct Keys {
    columns: Vec<ValueWriter>,
    /// Numbers by the hash of the key's text.
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
    texts: Vec<u8>,
    /// Where the text of each key ends; it starts where the one before it ends.
    ends: Vec<usize>,
}

impl Keys {
    fn new(columns: Vec<ValueWriter>) -> Self {
        let hasher = DefaultHashBuilder::default();
        Self { columns, numbers: HashTable::new(), hasher, texts: Vec::new(), ends: Vec::new() }
    }

    fn number(&mut self, row: usize) -> u32 {
        let Self { columns, numbers, hasher, texts, ends } = self;
        let start = texts.len();
        for column in columns.iter() {
            column.write(row, texts);
            texts.push(b',');
        }
        let text = |number: u32| {
            let at = number as usize;
            &texts[at.checked_sub(1).map_or(0, |before| ends[before])..ends.get(at).copied().unwrap_or(texts.len())]
        };
        let next = ends.len() as u32;
        let wanted = &texts[start..];
        let entry = numbers.entry(
            hasher.hash_one(wanted),
            |number| text(*number) == wanted,
            |number| hasher.hash_one(text(*number)),
        );
        match entry {
            Entry::Occupied(known) => {
                let number = *known.get();
                texts.truncate(start);
                number
            }
            Entry::Vacant(free) => {
                free.insert(next);
                ends.push(texts.len());
                next
            }
        }
    }
}

struct Planner<'a> {
    target: &'a RestTarget,
    writer: RowWriter,
    url: Bound,
    headers: Vec<(&'a str, Bound)>,
    /// URL and headers of every row, where no column is in them.
    fixed: Option<Envelope>,
    /// `None`: order does not matter between requests, or requests are one sequence.
    keys: Option<Keys>,
    /// Numbers of URLs, where the URL is the key.
    urls: Option<HashMap<String, u32>>,
    requests: Vec<Request>,
    /// The request that a row of this envelope may join.
    open: HashMap<Envelope, usize>,
    /// The same where all rows have the fixed envelope: nothing is copied or hashed per row.
    open_fixed: Option<usize>,
    /// The latest request that holds a key, by the key's number.
    latest: Vec<usize>,
    limit: usize,
    row: Vec<u8>,
}

impl<'a> Planner<'a> {
    fn new(target: &'a RestTarget, ctx: &PlanContext<'_>, rows: &RecordBatch) -> Result<Self> {
        let url = Bound::new(&target.url, rows, "url")?;
        url.check_url()?;
        let mut headers = Vec::with_capacity(target.headers.len());
        for (name, template) in &target.headers {
            check_header_name(name, &target.idempotency)?;
            headers.push((name.as_str(), Bound::new(template, rows, &format!("header {name}"))?));
        }
        check_body_field(target, rows)?;
        let templated = url.has_columns() || headers.iter().any(|(_, bound)| bound.has_columns());
        let key_columns = target.key.as_deref().unwrap_or(ctx.key_columns);
        let by_url = target.idempotency == Idempotency::LastWriterWins;
        let keyed = target.ordered && !by_url && !key_columns.is_empty() && (target.concurrency > 1 || templated);
        let keys = keyed.then(|| {
            let columns = key_columns.iter().map(|name| ValueWriter::new(column(rows, name, "key")?, name));
            Ok::<_, Error>(Keys::new(columns.collect::<Result<_>>()?))
        });
        let room = match &target.idempotency {
            Idempotency::BodyField(field) => field.len() + ctx.lane.lane.as_str().len() + ID_ROOM,
            _ => 0,
        };
        let mut planner = Self {
            target,
            writer: RowWriter::new(rows)?,
            url,
            headers,
            fixed: None,
            keys: keys.transpose()?,
            urls: by_url.then(HashMap::new),
            requests: Vec::new(),
            open: HashMap::new(),
            open_fixed: None,
            latest: Vec::new(),
            limit: target.batch.bytes.saturating_sub(room),
            row: Vec::new(),
        };
        if !templated {
            planner.fixed = Some(planner.render(0).map_err(Error::invalid)?);
        }
        Ok(planner)
    }

    fn render(&self, row: usize) -> Result<Envelope, String> {
        let url = self.url.url(row)?;
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, bound) in &self.headers {
            if let Some(value) = bound.header(row, name)? {
                headers.push(((*name).to_owned(), value));
            }
        }
        Ok(Envelope { url, headers })
    }

    /// Puts a row into a request, or says why it cannot be sent.
    fn take(&mut self, row: usize) -> Result<(), String> {
        let envelope = if self.fixed.is_some() { None } else { Some(self.render(row)?) };
        let mut json = std::mem::take(&mut self.row);
        json.clear();
        self.writer.write(row, &mut json);
        let placed = if json.len() > MAX_ROW_BYTES {
            Err(format!("the row has {} bytes, more than {MAX_ROW_BYTES}", json.len()))
        } else {
            self.place(row, envelope, &json);
            Ok(())
        };
        self.row = json;
        placed
    }

    /// A new request, which is the one that rows of its envelope may join from now on.
    fn start(&mut self, envelope: Option<Envelope>) -> usize {
        let at = self.requests.len();
        let envelope = match (envelope, &self.fixed) {
            (None, Some(fixed)) => {
                self.open_fixed = Some(at);
                fixed.clone()
            }
            (envelope, _) => {
                let envelope = envelope.unwrap_or_default();
                self.open.insert(envelope.clone(), at);
                envelope
            }
        };
        self.requests.push(Request { envelope, body: Vec::new(), rows: 0, keys: Vec::new() });
        at
    }

    /// `envelope` is `None` where all rows have the fixed one.
    fn place(&mut self, row: usize, envelope: Option<Envelope>, json: &[u8]) {
        let key = match (&mut self.urls, &envelope) {
            (Some(urls), Some(envelope)) => Some(number_of_url(urls, &envelope.url)),
            _ => self.keys.as_mut().map(|keys| keys.number(row)),
        };
        // The earliest request that this row may join without overtaking a row of its sequence.
        let earliest = match key {
            Some(key) => self.latest.get(key as usize).copied().unwrap_or(0),
            None if self.target.ordered => self.requests.len().saturating_sub(1),
            None => 0,
        };
        let open = envelope.as_ref().map_or(self.open_fixed, |envelope| self.open.get(envelope).copied());
        let at = match open.filter(|at| *at >= earliest && self.has_room(*at, json.len())) {
            Some(at) => at,
            None => self.start(envelope),
        };
        let request = &mut self.requests[at];
        match (self.target.batch.format, request.rows) {
            (BodyFormat::JsonArray, 0) => request.body.push(b'['),
            (BodyFormat::JsonArray, _) => request.body.push(b','),
            _ => {}
        }
        request.body.extend_from_slice(json);
        if self.target.batch.format == BodyFormat::Ndjson {
            request.body.push(b'\n');
        }
        request.rows += 1;
        if let Some(key) = key {
            match self.latest.get_mut(key as usize) {
                Some(latest) if *latest == at => {}
                Some(latest) => {
                    *latest = at;
                    request.keys.push(key);
                }
                // Numbers come without gaps.
                None => {
                    self.latest.push(at);
                    request.keys.push(key);
                }
            }
        }
    }

    fn has_room(&self, at: usize, length: usize) -> bool {
        let request = &self.requests[at];
        self.target.batch.format != BodyFormat::JsonObject
            && (request.rows as usize) < self.target.batch.rows
            && request.body.len() + length + 2 <= self.limit
    }

    fn waves(&self, ctx: &PlanContext<'_>) -> Result<Vec<u16>> {
        let fenced = self.target.idempotency.one_at_a_time();
        if !self.target.ordered && !fenced {
            return Ok(vec![ctx.first_wave; self.requests.len()]);
        }
        let mut waves = Vec::with_capacity(self.requests.len());
        let sequence = fenced || self.urls.is_none() && (self.keys.is_none() || self.target.concurrency <= 1);
        let mut latest: Vec<Option<u16>> = vec![None; self.latest.len()];
        for request in &self.requests {
            let before = if sequence {
                waves.last().copied()
            } else {
                request.keys.iter().filter_map(|key| latest[*key as usize]).max()
            };
            let wave = before.map_or(Ok(ctx.first_wave), |before| next(before, ctx))?;
            for key in &request.keys {
                latest[*key as usize] = Some(wave);
            }
            waves.push(wave);
        }
        Ok(waves)
    }
}

fn number_of_url(urls: &mut HashMap<String, u32>, url: &str) -> u32 {
    if let Some(number) = urls.get(url) {
        return *number;
    }
    let number = urls.len() as u32;
    urls.insert(url.to_owned(), number);
    number
}

/// Headers that the sender sets itself, or that would change how the body is read.
const OWN_HEADERS: [&str; 10] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "upgrade",
    "authorization",
    "tidegate-content-sha256",
    "tidegate-fence-lane",
    "tidegate-fence-number",
];

fn check_header_name(name: &str, idempotency: &Idempotency) -> Result<()> {
    let own = OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own))
        || matches!(idempotency, Idempotency::Header(id) if name.eq_ignore_ascii_case(id));
    if own {
        return Err(Error::invalid(format!("headers: {name} is set by Tidegate itself")).with_help("remove it"));
    }
    if reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(Error::invalid(format!("headers: '{name}' is no header name")));
    }
    Ok(())
}

fn check_body_field(target: &RestTarget, rows: &RecordBatch) -> Result<()> {
    let Idempotency::BodyField(field) = &target.idempotency else { return Ok(()) };
    match target.batch.format {
        BodyFormat::Ndjson => Err(Error::invalid("idempotency: NDJSON has no place for an id in the body")
            .with_help("send it in a header or in the path")),
        BodyFormat::JsonObject if rows.column_by_name(field).is_some() => {
            Err(Error::invalid(format!("idempotency: the output has a column '{field}' itself"))
                .with_help("take another field for the id, or rename the column"))
        }
        _ => Ok(()),
    }
}
