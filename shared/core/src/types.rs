//! Column types by the names of Spark's DDL, and their Arrow form.
//!
//! | DDL | Arrow |
//! |---|---|
//! | `string` | `Utf8` |
//! | `boolean` | `Boolean` |
//! | `tinyint`/`byte`, `smallint`/`short`, `int`/`integer`, `bigint`/`long` | `Int8`, `Int16`, `Int32`, `Int64` |
//! | `float`/`real`, `double` | `Float32`, `Float64` |
//! | `decimal(p,s)` (`decimal` is `decimal(10,0)`) | `Decimal128(p, s)` |
//! | `date` | `Date32` |
//! | `timestamp` | `Timestamp(Microsecond, "UTC")` |
//! | `timestamp_ntz` | `Timestamp(Microsecond)` |
//! | `binary` | `Binary` |
//! | `array<t>` | `List` of a nullable `item` |
//! | `struct<a:t,b:u>` | `Struct` of nullable fields |
//! | `map<k,v>` | `Map` of `entries` with `key` (not null) and `value` |

use std::fmt;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, IntervalUnit, TimeUnit};

use crate::error::{Error, Result};
use crate::interval::Units;

/// A column type of Spark's DDL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SqlType {
    /// UTF-8 text.
    String,
    /// True or false.
    Boolean,
    /// 8-bit integer.
    TinyInt,
    /// 16-bit integer.
    SmallInt,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    BigInt,
    /// 32-bit floating point.
    Float,
    /// 64-bit floating point.
    Double,
    /// Fixed point with `precision` digits (1 to 38), `scale` of them after the point.
    Decimal {
        /// All digits.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// A day.
    Date,
    /// An instant, in microseconds.
    Timestamp,
    /// A wall-clock time without a zone, in microseconds.
    TimestampNtz,
    /// Bytes.
    Binary,
    /// A list.
    Array(Box<SqlType>),
    /// Named fields.
    Struct(Vec<(String, SqlType)>),
    /// Keys to values.
    Map(Box<SqlType>, Box<SqlType>),
}

/// The names that [`SqlType::parse`] knows, for messages.
pub const TYPE_NAMES: &str = "string, boolean, tinyint, smallint, int, bigint, float, double, decimal(p,s), date, \
     timestamp, timestamp_ntz, binary, array<t>, struct<a:t,b:u>, map<k,v>";

impl SqlType {
    /// Reads one type: `int`, `decimal(12,2)`, `array<struct<a:int,b:string>>`. Names in any letter case.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser { text, at: 0 };
        let ty = parser.ty()?;
        parser.end()?;
        Ok(ty)
    }

    /// The Arrow form; see the table of this module.
    pub fn to_arrow(&self) -> DataType {
        match self {
            Self::String => DataType::Utf8,
            Self::Boolean => DataType::Boolean,
            Self::TinyInt => DataType::Int8,
            Self::SmallInt => DataType::Int16,
            Self::Int => DataType::Int32,
            Self::BigInt => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale as i8),
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
            Self::TimestampNtz => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Binary => DataType::Binary,
            Self::Array(item) => DataType::List(Arc::new(Field::new_list_field(item.to_arrow(), true))),
            Self::Struct(fields) => DataType::Struct(
                fields.iter().map(|(name, ty)| Field::new(name, ty.to_arrow(), true)).collect::<Fields>(),
            ),
            Self::Map(key, value) => {
                let entries = Fields::from(vec![
                    Field::new("key", key.to_arrow(), false),
                    Field::new("value", value.to_arrow(), true),
                ]);
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
            }
        }
    }
}

/// The units that the intervals of a column count; `None` of a column of another type.
pub fn units_of(field: &Field) -> Option<Units> {
    let all = all_units(field.data_type())?;
    let marked = field.metadata().get(Units::KEY).and_then(|units| Units::parse(units));
    Some(marked.filter(|units| units.counts_months() == all.counts_months()).unwrap_or(all))
}

/// The units of an interval without a mark; `None` of another type.
pub fn all_units(ty: &DataType) -> Option<Units> {
    match ty {
        DataType::Duration(_) => Some(Units::TIME),
        DataType::Interval(IntervalUnit::YearMonth) => Some(Units::MONTHS),
        _ => None,
    }
}

/// Spark's name of the type of a column, with the units that its intervals count.
pub fn spark_name_of(field: &Field) -> String {
    units_of(field).map_or_else(|| spark_name(field.data_type()), |units| format!("interval {}", units.name()))
}

/// An Arrow type by Spark's name for it (`simpleString`), the reverse of [`SqlType::to_arrow`]. Types that Spark does
/// not have go by Arrow's name.
pub fn spark_name(ty: &DataType) -> String {
    let fields = |fields: &Fields| {
        let one = |field: &Arc<Field>| format!("{}:{}", field.name(), spark_name(field.data_type()));
        fields.iter().map(one).collect::<Vec<_>>().join(",")
    };
    match ty {
        DataType::Null => "void".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Int8 => "tinyint".into(),
        DataType::Int16 => "smallint".into(),
        DataType::Int32 => "int".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary".into(),
        DataType::Date32 => "date".into(),
        DataType::Timestamp(_, Some(_)) => "timestamp".into(),
        DataType::Timestamp(_, None) => "timestamp_ntz".into(),
        DataType::Interval(IntervalUnit::YearMonth) => "interval year to month".into(),
        DataType::Duration(_) | DataType::Interval(IntervalUnit::DayTime) => "interval day to second".into(),
        DataType::Interval(IntervalUnit::MonthDayNano) => "interval".into(),
        DataType::List(item) | DataType::LargeList(item) => format!("array<{}>", spark_name(item.data_type())),
        DataType::Struct(inner) => format!("struct<{}>", fields(inner)),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(inner) if inner.len() == 2 => {
                format!("map<{},{}>", spark_name(inner[0].data_type()), spark_name(inner[1].data_type()))
            }
            other => format!("map<{}>", spark_name(other)),
        },
        other => other.to_string(),
    }
}

/// Reads a whole DDL text such as `branch string, amount decimal(12,2), tags array<string>`.
/// Column names may stand in backquotes; a colon between name and type is accepted as in Spark.
pub fn parse_columns(text: &str) -> Result<Vec<(String, SqlType)>> {
    let mut parser = Parser { text, at: 0 };
    let mut columns: Vec<(String, SqlType)> = Vec::new();
    loop {
        let name = parser.name()?;
        parser.eat(':');
        let ty = parser.ty()?;
        if columns.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name)) {
            return Err(Error::invalid(format!("column '{name}' is declared twice")));
        }
        columns.push((name, ty));
        if !parser.eat(',') {
            break;
        }
    }
    parser.end()?;
    Ok(columns)
}

/// How deep types may be nested.
pub const MAX_TYPE_DEPTH: usize = 32;

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.skip_space();
        let found = self.text[self.at..].starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn need(&mut self, wanted: char) -> Result<()> {
        if self.eat(wanted) { Ok(()) } else { Err(self.wrong(&format!("'{wanted}' is expected"))) }
    }

    fn wrong(&self, why: &str) -> Error {
        let rest: String = self.text[self.at..].chars().take(20).collect();
        let place = if rest.is_empty() { "at its end".to_owned() } else { format!("at '{rest}'") };
        Error::invalid(format!("'{}' is no column type: {why} {place}", self.text.trim()))
            .with_help(format!("types are {TYPE_NAMES}"))
    }

    fn end(&mut self) -> Result<()> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.wrong("nothing more is expected")) }
    }

    fn word(&mut self) -> Result<String> {
        self.skip_space();
        let rest = &self.text[self.at..];
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if length == 0 {
            return Err(self.wrong("a name is expected"));
        }
        self.at += length;
        Ok(rest[..length].to_owned())
    }

    fn name(&mut self) -> Result<String> {
        if !self.eat('`') {
            return self.word();
        }
        let rest = &self.text[self.at..];
        let Some(length) = rest.find('`').filter(|length| *length > 0) else {
            return Err(self.wrong("a name in backquotes is expected"));
        };
        self.at += length + 1;
        Ok(rest[..length].to_owned())
    }

    fn ty(&mut self) -> Result<SqlType> {
        self.ty_at(0)
    }

    fn ty_at(&mut self, depth: usize) -> Result<SqlType> {
        if depth > MAX_TYPE_DEPTH {
            return Err(self.wrong(&format!("types nest at most {MAX_TYPE_DEPTH} deep")));
        }
        let start = self.at;
        let word = self.word()?;
        let ty = match word.to_ascii_lowercase().as_str() {
            "string" => SqlType::String,
            "boolean" => SqlType::Boolean,
            "tinyint" | "byte" => SqlType::TinyInt,
            "smallint" | "short" => SqlType::SmallInt,
            "int" | "integer" => SqlType::Int,
            "bigint" | "long" => SqlType::BigInt,
            "float" | "real" => SqlType::Float,
            "double" => SqlType::Double,
            "decimal" | "dec" | "numeric" => self.decimal()?,
            "date" => SqlType::Date,
            "timestamp" | "timestamp_ltz" => SqlType::Timestamp,
            "timestamp_ntz" => SqlType::TimestampNtz,
            "binary" => SqlType::Binary,
            "array" => {
                self.need('<')?;
                let item = self.ty_at(depth + 1)?;
                self.need('>')?;
                SqlType::Array(Box::new(item))
            }
            "map" => {
                self.need('<')?;
                let key = self.ty_at(depth + 1)?;
                self.need(',')?;
                let value = self.ty_at(depth + 1)?;
                self.need('>')?;
                SqlType::Map(Box::new(key), Box::new(value))
            }
            "struct" => self.fields(depth)?,
            _ => {
                self.at = start;
                self.skip_space();
                return Err(self.wrong("no such type"));
            }
        };
        Ok(ty)
    }

    fn decimal(&mut self) -> Result<SqlType> {
        if !self.eat('(') {
            return Ok(SqlType::Decimal { precision: 10, scale: 0 });
        }
        let precision = self.number()?;
        let scale = if self.eat(',') { self.number()? } else { 0 };
        self.need(')')?;
        if precision == 0 || precision > 38 || scale > precision {
            return Err(self.wrong("decimal(p,s) needs 1 <= p <= 38 and 0 <= s <= p"));
        }
        Ok(SqlType::Decimal { precision, scale })
    }

    fn number(&mut self) -> Result<u8> {
        let word = self.word()?;
        word.parse().map_err(|_| self.wrong("a number up to 38 is expected"))
    }

    fn fields(&mut self, depth: usize) -> Result<SqlType> {
        self.need('<')?;
        let mut fields = Vec::new();
        while !self.eat('>') {
            if !fields.is_empty() {
                self.need(',')?;
            }
            let name = self.name()?;
            self.eat(':');
            fields.push((name, self.ty_at(depth + 1)?));
        }
        if fields.is_empty() { Err(self.wrong("a struct needs a field")) } else { Ok(SqlType::Struct(fields)) }
    }
}

/// Writes the type as Spark's `simpleString` does: `struct<a:int,b:array<string>>`.
impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String => f.write_str("string"),
            Self::Boolean => f.write_str("boolean"),
            Self::TinyInt => f.write_str("tinyint"),
            Self::SmallInt => f.write_str("smallint"),
            Self::Int => f.write_str("int"),
            Self::BigInt => f.write_str("bigint"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::TimestampNtz => f.write_str("timestamp_ntz"),
            Self::Binary => f.write_str("binary"),
            Self::Array(item) => write!(f, "array<{item}>"),
            Self::Map(key, value) => write!(f, "map<{key},{value}>"),
            Self::Struct(fields) => {
                f.write_str("struct<")?;
                for (i, (name, ty)) in fields.iter().enumerate() {
                    let comma = if i > 0 { "," } else { "" };
                    write!(f, "{comma}{name}:{ty}")?;
                }
                f.write_str(">")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_spark_prints() {
        for text in [
            "string",
            "decimal(12,2)",
            "array<struct<a:int,b:map<string,array<double>>>>",
            "map<string,timestamp>",
            "struct<x:tinyint>",
        ] {
            let ty = SqlType::parse(text).unwrap();
            assert_eq!(ty.to_string(), text);
            assert_eq!(spark_name(&ty.to_arrow()), text);
        }
        assert_eq!(SqlType::parse(" LONG ").unwrap(), SqlType::BigInt);
        assert_eq!(SqlType::parse("decimal").unwrap(), SqlType::Decimal { precision: 10, scale: 0 });
    }

    #[test]
    fn reads_column_lists() {
        let columns = parse_columns("branch string, `a b` : decimal(12, 2), s struct<x int, y: date>").unwrap();
        assert_eq!(columns[1], ("a b".into(), SqlType::Decimal { precision: 12, scale: 2 }));
        assert_eq!(columns[2].1.to_string(), "struct<x:int,y:date>");
    }

    #[test]
    fn refuses_what_is_no_type() {
        for wrong in ["", "strin", "array<>", "array<int", "decimal(39,2)", "decimal(2,3)", "struct<>", "int int"] {
            assert!(SqlType::parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse_columns("a int, A string").unwrap_err().to_string().contains("twice"));
        assert!(SqlType::parse(&"array<".repeat(100)).is_err());
    }
}
