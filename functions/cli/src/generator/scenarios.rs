//! The records of each scenario.

use std::time::Duration;

use super::Generator;
use super::draw::Draw;
use super::text::{fixed, hundredths, integer, timestamp};

const BRANCHES: [&[u8]; 4] = [b"Kazan", b"SPB", b"Novosibirsk", b"Surgut"];
const CURRENCIES: [&[u8]; 10] = [b"RUB", b"USD", b"EUR", b"GBP", b"CNY", b"JPY", b"CHF", b"TRY", b"AED", b"INR"];
const CITIES: [&[u8]; 8] =
    [b"Kazan", b"Moscow", b"Novosibirsk", b"Samara", b"SPB", b"Surgut", b"Tomsk", b"Vladivostok"];
const PATHS: [&[u8]; 5] = [b"/", b"/search", b"/cart", b"/pay", b"/help"];
const STATUSES: [&[u8]; 8] = [b"200", b"200", b"200", b"200", b"200", b"304", b"404", b"500"];

/// Bytes of a line of `treasury85`, line break included.
pub const TREASURY85_LINE: usize = 85;

/// Bytes of a record of `treasury500`.
pub const TREASURY500_RECORD: usize = 300;

/// Amounts reach from -100.00 to 100.00.
const MOST_HUNDREDTHS: i64 = 10_000;

/// A reference scenario's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Transactions of 4 branches in 4 currencies.
    Treasury,
    /// 500 branches, 10 currencies, records of exactly 300 bytes.
    Treasury500,
    /// 50 branches, 4 currencies, lines of exactly 85 bytes, line break included (padded with spaces at the end).
    Treasury85,
    /// Requests of 8 cities, event times out of order.
    Cities,
    /// 20 columns, half of them null, nested, keys in changing order.
    Wide,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Treasury, Self::Treasury500, Self::Treasury85, Self::Cities, Self::Wide];

    /// The name in specifications.
    pub fn name(self) -> &'static str {
        match self {
            Self::Treasury => "treasury",
            Self::Treasury500 => "treasury500",
            Self::Treasury85 => "treasury85",
            Self::Cities => "cities",
            Self::Wide => "wide",
        }
    }

    pub(super) fn default_rate(self) -> u64 {
        match self {
            Self::Treasury => 100,
            Self::Cities => 10,
            Self::Treasury500 | Self::Treasury85 | Self::Wide => 1000,
        }
    }

    pub(super) fn default_disorder(self) -> Duration {
        if self == Self::Cities { Duration::from_secs(240) } else { Duration::ZERO }
    }

    pub(super) fn default_late(self) -> f64 {
        if self == Self::Cities { 0.005 } else { 0.0 }
    }

    /// The columns in Spark's DDL.
    pub fn columns(self) -> &'static str {
        match self {
            Self::Treasury | Self::Treasury500 | Self::Treasury85 => {
                "branch string, currency string, amount decimal(12,2), ts timestamp"
            }
            Self::Cities => "city string, path string, status int, ts timestamp",
            Self::Wide => {
                "id bigint, ts timestamp, customer string, country string, score double, price decimal(12,2), \
                 quantity int, active boolean, tags array<string>, \
                 address struct<city:string,zip:string,geo:struct<lat:double,lon:double>>, attributes map<string,int>, \
                 note string, day date, device string, version int, referrer string, duration double, \
                 campaign string, retries int, session string"
            }
        }
    }

    #[inline]
    pub(super) fn write(self, generator: &Generator, index: u64, draw: &mut Draw, out: &mut Vec<u8>) {
        match self {
            Self::Treasury => treasury(generator, index, draw, out),
            Self::Treasury500 => treasury500(generator, index, draw, out),
            Self::Treasury85 => treasury85(generator, index, draw, out),
            Self::Cities => cities(generator, index, draw, out),
            Self::Wide => wide(generator, index, draw, out),
        }
    }
}

#[inline]
fn amount(draw: &mut Draw) -> i64 {
    draw.below(2 * MOST_HUNDREDTHS as u64 + 1) as i64 - MOST_HUNDREDTHS
}

/// The part behind the branch's name: `","currency":"RUB","amount":1.00,"ts":"..."`, without the closing brace.
#[inline]
fn transaction(generator: &Generator, index: u64, currencies: usize, draw: &mut Draw, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\",\"currency\":\"");
    out.extend_from_slice(draw.pick(&CURRENCIES[..currencies]));
    out.extend_from_slice(b"\",\"amount\":");
    hundredths(amount(draw), out);
    out.extend_from_slice(b",\"ts\":\"");
    timestamp(generator.event_time(index, draw), out);
    out.push(b'"');
}

fn treasury(generator: &Generator, index: u64, draw: &mut Draw, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"branch\":\"");
    out.extend_from_slice(draw.pick(&BRANCHES));
    transaction(generator, index, 4, draw, out);
    out.push(b'}');
}

fn treasury500(generator: &Generator, index: u64, draw: &mut Draw, out: &mut Vec<u8>) {
    let from = out.len();
    out.extend_from_slice(b"{\"branch\":\"branch-");
    fixed::<3>(draw.below(500), out);
    transaction(generator, index, 10, draw, out);
    out.extend_from_slice(b",\"account\":\"");
    fixed::<20>(draw.next(), out);
    out.extend_from_slice(b"\",\"note\":\"");
    let text = b"payment for goods and services under the contract of the year before, without value added tax; ";
    while out.len() - from < TREASURY500_RECORD - 2 {
        let room = TREASURY500_RECORD - 2 - (out.len() - from);
        out.extend_from_slice(&text[..room.min(text.len())]);
    }
    out.extend_from_slice(b"\"}");
}

#[inline]
fn treasury85(generator: &Generator, index: u64, draw: &mut Draw, out: &mut Vec<u8>) {
    let from = out.len();
    out.extend_from_slice(b"{\"branch\":\"br-");
    fixed::<2>(draw.below(50), out);
    transaction(generator, index, 4, draw, out);
    out.push(b'}');
    out.resize(from + TREASURY85_LINE - 1, b' ');
}

/// Most records come a little late, one in five up to `disorder`, a few five to ten minutes.
fn cities(generator: &Generator, index: u64, draw: &mut Draw, out: &mut Vec<u8>) {
    const SMALL_DELAY_MS: u64 = 3000;
    let disorder = u64::try_from(generator.disorder.as_millis()).unwrap_or(u64::MAX);
    let delay = if draw.share(generator.late) {
        300_001 + draw.below(300_000)
    } else if draw.below(5) == 0 {
        draw.below(disorder.saturating_add(1))
    } else {
        draw.below(disorder.min(SMALL_DELAY_MS).saturating_add(1))
    };
    out.extend_from_slice(b"{\"city\":\"");
    out.extend_from_slice(draw.pick(&CITIES));
    out.extend_from_slice(b"\",\"path\":\"");
    out.extend_from_slice(draw.pick(&PATHS));
    out.extend_from_slice(b"\",\"status\":");
    out.extend_from_slice(draw.pick(&STATUSES));
    out.extend_from_slice(b",\"ts\":\"");
    let sent = generator.sent_at(index);
    timestamp(sent.saturating_sub(i64::try_from(delay).unwrap_or(i64::MAX)), out);
    out.extend_from_slice(b"\"}");
}

const WIDE_COLUMNS: u64 = 20;

/// Steps that visit all 20 columns.
const WIDE_STRIDES: [u64; 4] = [1, 3, 7, 19];

fn wide(generator: &Generator, index: u64, draw: &mut Draw, out: &mut Vec<u8>) {
    let (first, stride) = (draw.below(WIDE_COLUMNS), draw.pick(&WIDE_STRIDES));
    let time = generator.event_time(index, draw);
    out.push(b'{');
    for i in 0..WIDE_COLUMNS {
        let column = (first + i * stride) % WIDE_COLUMNS;
        // Id and event time are always there; 10 of the other 18 columns are null, so half of all.
        let null = column > 1 && draw.below(18) < 10;
        if null && draw.below(2) == 0 {
            continue;
        }
        if out.last() != Some(&b'{') {
            out.push(b',');
        }
        let name = wide_name(column);
        out.push(b'"');
        out.extend_from_slice(name);
        out.extend_from_slice(b"\":");
        if null {
            out.extend_from_slice(b"null");
        } else {
            wide_value(column, index, time, draw, out);
        }
    }
    out.push(b'}');
}

fn wide_name(column: u64) -> &'static [u8] {
    const NAMES: [&[u8]; WIDE_COLUMNS as usize] = [
        b"id",
        b"ts",
        b"customer",
        b"country",
        b"score",
        b"price",
        b"quantity",
        b"active",
        b"tags",
        b"address",
        b"attributes",
        b"note",
        b"day",
        b"device",
        b"version",
        b"referrer",
        b"duration",
        b"campaign",
        b"retries",
        b"session",
    ];
    NAMES[(column % WIDE_COLUMNS) as usize]
}

fn quoted(parts: &[&[u8]], out: &mut Vec<u8>) {
    out.push(b'"');
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.push(b'"');
}

fn numbered(prefix: &[u8], number: u64, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(prefix);
    integer(number, out);
    out.push(b'"');
}

fn wide_value(column: u64, index: u64, time: i64, draw: &mut Draw, out: &mut Vec<u8>) {
    match column {
        0 => integer(index, out),
        1 => {
            out.push(b'"');
            timestamp(time, out);
            out.push(b'"');
        }
        2 => numbered(b"customer-", draw.below(100_000), out),
        3 => quoted(&[draw.pick(&[b"RU", b"US", b"DE", b"GB"])], out),
        4 | 16 => hundredths(draw.below(1_000_000) as i64, out),
        5 => hundredths(amount(draw), out),
        6 | 14 | 18 => integer(draw.below(100), out),
        7 => out.extend_from_slice(draw.pick::<&[u8]>(&[b"true", b"false"])),
        8 => {
            let tags: [&[u8]; 3] = [b"[]", b"[\"new\"]", b"[\"new\",null,\"g\\u0440een \\\"x\\\"\"]"];
            out.extend_from_slice(draw.pick(&tags));
        }
        9 => {
            out.extend_from_slice(b"{\"city\":");
            quoted(&[draw.pick(&CITIES)], out);
            out.extend_from_slice(b",\"zip\":\"");
            fixed::<6>(draw.below(1_000_000), out);
            out.extend_from_slice(b"\",\"geo\":{\"lat\":");
            hundredths(draw.below(9000) as i64, out);
            out.extend_from_slice(b",\"lon\":null}}");
        }
        10 => {
            out.extend_from_slice(b"{\"clicks\":");
            integer(draw.below(50), out);
            out.extend_from_slice(b",\"views\":");
            integer(draw.below(500), out);
            out.push(b'}');
        }
        12 => {
            out.push(b'"');
            let from = out.len();
            timestamp(time, out);
            out.truncate(from + b"2026-01-01".len());
            out.push(b'"');
        }
        13 => quoted(&[draw.pick::<&[u8]>(&[b"phone", b"tablet", b"desktop"])], out),
        15 => quoted(&[b"https://example.com", draw.pick(&PATHS)], out),
        17 => numbered(b"campaign-", draw.below(20), out),
        19 => numbered(b"s", draw.next(), out),
        _ => quoted(&["a note, with some text: Новосибирск".as_bytes()], out),
    }
}

/// Makes the record that starts at `from` one that no decoder takes for a transaction. It stays one line.
pub fn break_record(from: usize, draw: &mut Draw, out: &mut Vec<u8>) {
    match draw.below(4) {
        0 => {
            let length = out.len() - from;
            out.truncate(from + length / 2);
        }
        1 => {
            out.truncate(from);
            out.extend_from_slice(b"not json at all");
        }
        2 => {
            out.truncate(from);
            out.extend_from_slice(b"[1,2,3]");
        }
        _ => {
            out.truncate(from);
            out.extend_from_slice(b"{\"branch\":\"Kazan\",\"amount\":{\"is\":\"an object\"},\"ts\":[true]}");
        }
    }
}
