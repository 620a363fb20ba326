use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::*;
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{Field, Fields};

use super::*;

fn json(array: ArrayRef) -> Vec<String> {
    let writer = ValueWriter::new(&array, "a").unwrap();
    (0..array.len())
        .map(|row| {
            let mut out = Vec::new();
            writer.write(row, &mut out);
            String::from_utf8(out).unwrap()
        })
        .collect()
}

/// Texts recorded from Spark 4.3 on Java 17.
#[test]
fn doubles_and_floats_as_java_writes_them() {
    let cases = [
        (1e10, "1.0E10"),
        (1e-5, "1.0E-5"),
        (100.0, "100.0"),
        (f64::NAN, "\"NaN\""),
        (f64::INFINITY, "\"Infinity\""),
        (f64::NEG_INFINITY, "\"-Infinity\""),
        (-0.0, "-0.0"),
        (0.0, "0.0"),
        (1e7, "1.0E7"),
        (9_999_999.0, "9999999.0"),
        (0.001, "0.001"),
        (9.99e-4, "9.99E-4"),
        (0.002, "0.002"),
        (4.9e-324, "4.9E-324"),
        (2.0e-323, "2.0E-323"),
        (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
        (f64::MAX, "1.7976931348623157E308"),
        (1e22, "1.0E22"),
        (-1234.5678, "-1234.5678"),
        (0.30000000000000004, "0.30000000000000004"),
        (8.41e21, "8.409999999999999E21"),
        (2e23, "1.9999999999999998E23"),
        (1e23, "9.999999999999999E22"),
    ];
    for (value, text) in cases {
        assert_eq!(json(Arc::new(Float64Array::from(vec![value]))), [text]);
    }
    let cases = [
        (1.1, "1.1"),
        (1e10, "1.0E10"),
        (f32::MIN_POSITIVE, "1.17549435E-38"),
        (1.4e-45, "1.4E-45"),
        (33_554_432.0, "3.3554432E7"),
        (f32::NAN, "\"NaN\""),
        (0.002, "0.002"),
    ];
    for (value, text) in cases {
        assert_eq!(json(Arc::new(Float32Array::from(vec![value]))), [text]);
    }
}

proptest::proptest! {
    #[test]
    fn doubles_read_back(value: f64) {
        let mut out = Vec::new();
        java::write_f64(value, &mut out);
        let text = String::from_utf8(out).unwrap();
        proptest::prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
    }
}

#[test]
fn floating_point_as_recorded() {
    let recorded = include_str!("../../fixtures/java-floating-point.txt");
    let mut count = 0;
    for line in recorded.lines().filter(|line| !line.starts_with('#')) {
        let [kind, bits, text] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let bits = u64::from_str_radix(bits, 16).unwrap();
        let mut out = Vec::new();
        match kind {
            "d" => java::write_f64(f64::from_bits(bits), &mut out),
            _ => java::write_f32(f32::from_bits(bits as u32), &mut out),
        }
        assert_eq!(String::from_utf8(out).unwrap(), text, "{line}");
        count += 1;
    }
    assert!(count > 500);
}

#[test]
fn times_and_dates() {
    let instants = TimestampMicrosecondArray::from(vec![
        Some(1_767_225_600_000_000),
        Some(1_767_225_600_123_456),
        Some(-1),
        Some(-62_135_596_800_000_000),
        None,
    ]);
    let texts = json(Arc::new(instants.clone().with_timezone("UTC")));
    assert_eq!(
        texts,
        [
            "\"2026-01-01T00:00:00.000Z\"",
            "\"2026-01-01T00:00:00.123Z\"",
            "\"1969-12-31T23:59:59.999Z\"",
            "\"0001-01-01T00:00:00.000Z\"",
            "null"
        ]
    );
    assert_eq!(json(Arc::new(instants))[1], "\"2026-01-01T00:00:00.123\"");
    assert_eq!(json(Arc::new(Date32Array::from(vec![20_454, -719_162]))), ["\"2026-01-01\"", "\"0001-01-01\""]);
}

#[test]
fn decimals_are_plain_numbers() {
    let values = Decimal128Array::from(vec![150, -5, 0, 12_345]).with_precision_and_scale(12, 2).unwrap();
    assert_eq!(json(Arc::new(values)), ["1.50", "-0.05", "0.00", "123.45"]);
    let values = Decimal128Array::from(vec![-5, 0]).with_precision_and_scale(5, 0).unwrap();
    assert_eq!(json(Arc::new(values)), ["-5", "0"]);
    let values = Decimal128Array::from(vec![1]).with_precision_and_scale(38, 18).unwrap();
    assert_eq!(json(Arc::new(values)), ["0.000000000000000001"]);
}

#[test]
fn texts_are_escaped_as_jackson_does() {
    let texts = json(Arc::new(StringArray::from(vec!["a\"b\\c/\u{1}\u{7f}\u{2028}é😀\n\t\u{8}\u{c}\r<\u{1f}", ""])));
    assert_eq!(texts[0], "\"a\\\"b\\\\c/\\u0001\u{7f}\u{2028}é😀\\n\\t\\b\\f\\r<\\u001F\"");
    assert_eq!(texts[1], "\"\"");
    let bytes: &[u8] = &[0, 255, 254];
    assert_eq!(json(Arc::new(BinaryArray::from(vec![bytes, b""]))), ["\"AP/+\"", "\"\""]);
}

#[test]
fn nested_values() {
    let mut lists = ListBuilder::new(Int32Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_null();
    lists.append_value([]);
    assert_eq!(json(Arc::new(lists.finish())), ["[1,null]", "null", "[]"]);
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    maps.keys().append_value("x\"");
    maps.values().append_value(1);
    maps.keys().append_value("y");
    maps.values().append_null();
    maps.append(true).unwrap();
    maps.append(false).unwrap();
    assert_eq!(json(Arc::new(maps.finish())), ["{\"x\\\"\":1,\"y\":null}", "null"]);
    let mut maps = MapBuilder::new(None, Int32Builder::new(), Int32Builder::new());
    maps.keys().append_value(1);
    maps.values().append_value(2);
    maps.append(true).unwrap();
    assert_eq!(json(Arc::new(maps.finish())), ["{\"1\":2}"]);
    let fields = Fields::from(vec![Field::new("p", DataType::Int32, true), Field::new("q", DataType::Utf8, true)]);
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![Some(1), Some(2)])), Arc::new(StringArray::from(vec![None::<&str>, None]))];
    let structs = StructArray::new(fields, columns, Some(NullBuffer::from(vec![true, false])));
    assert_eq!(json(Arc::new(structs)), ["{\"p\":1,\"q\":null}", "null"]);
}

#[test]
fn slices_are_read_from_their_start() {
    let mut lists = ListBuilder::new(Int32Builder::new());
    for i in 0..5 {
        lists.append_value([Some(i), Some(i * 10)]);
    }
    let lists = lists.finish();
    assert_eq!(json(Arc::new(lists.slice(3, 2))), ["[3,30]", "[4,40]"]);
    let texts = StringArray::from(vec![Some("a"), None, Some("c")]);
    assert_eq!(json(Arc::new(texts.slice(1, 2))), ["null", "\"c\""]);
}

#[test]
fn rows_keep_the_order_of_columns() {
    let batch = RecordBatch::try_from_iter([
        ("sum(\"x\")", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("a", Arc::new(NullArray::new(1))),
    ])
    .unwrap();
    let mut out = Vec::new();
    rows_json(&batch, &mut out).unwrap();
    assert_eq!(out, b"{\"sum(\\\"x\\\")\":1,\"a\":null}\n");
}

/// The texts are those of Spark 4.3.0's `to_json`.
#[test]
fn intervals_are_written_in_the_units_of_their_column() {
    let marked = |name: &str, ty: DataType, units: &str| {
        Field::new(name, ty, true).with_metadata([(Units::KEY.to_owned(), units.to_owned())].into())
    };
    let time = || DataType::Duration(TimeUnit::Microsecond);
    let months = || DataType::Interval(IntervalUnit::YearMonth);
    let list = Arc::new(Field::new_list_field(time(), true));
    let schema = Schema::new(vec![
        marked("a", time(), "hour"),
        Field::new("b", time(), true),
        marked("c", months(), "month"),
        Field::new("d", months(), true),
        Field::new("e", DataType::List(Arc::clone(&list)), true),
    ]);
    let hours = Arc::new(DurationMicrosecondArray::from(vec![Some(26 * 3_600_000_000), None]));
    let count = Arc::new(IntervalYearMonthArray::from(vec![-14, 0]));
    let items = ListArray::new(list, OffsetBuffer::from_lengths([1, 1]), hours.clone(), None);
    let columns: Vec<ArrayRef> = vec![hours.clone(), hours, count.clone(), count, Arc::new(items)];
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    let mut out = Vec::new();
    rows_json(&batch, &mut out).unwrap();
    let rows = [
        r#"{"a":"INTERVAL '26' HOUR","b":"INTERVAL '1 02:00:00' DAY TO SECOND","c":"INTERVAL '-14' MONTH","d":"INTERVAL '-1-2' YEAR TO MONTH","e":["INTERVAL '1 02:00:00' DAY TO SECOND"]}"#,
        r#"{"a":null,"b":null,"c":"INTERVAL '0' MONTH","d":"INTERVAL '0-0' YEAR TO MONTH","e":[null]}"#,
    ];
    assert_eq!(String::from_utf8(out).unwrap(), rows.map(|row| format!("{row}\n")).concat());
}

#[test]
fn other_types_are_refused_when_planned() {
    let field = |ty| Schema::new(vec![Field::new("a", ty, true)]);
    for ty in [DataType::Duration(TimeUnit::Second), DataType::Time64(TimeUnit::Microsecond), DataType::Float16] {
        let error = check_schema(&field(ty)).unwrap_err();
        assert!(error.to_string().contains("column 'a'"), "{error}");
    }
    let mut deep = DataType::Int32;
    for _ in 0..100 {
        deep = DataType::List(Arc::new(Field::new_list_field(deep, true)));
    }
    assert!(check_schema(&field(deep)).is_err());
}
