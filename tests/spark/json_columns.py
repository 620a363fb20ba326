"""Family `json`: what of a JSON value fits a column of a declared type, and which value it becomes."""

import json

import values

NUMBERS = ["0", "1", "-1", "-0", "7", "127", "128", "-128", "-129", "255", "32767", "32768", "-32769", "2147483647", "2147483648", "-2147483648",
           "-2147483649", "3000000000", "9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
           "-9223372036854775809", "123456789012345678901234567890", "1.0", "1.5", "-1.5", "0.1", "1e0", "1e2", "1E2", "1e+2", "1.5e1", "1e-1",
           "1e400", "-1e400", "1e-400", "1e10", "1.7976931348623157e308", "4.9e-324", "3.4028235e38", "3.5e38", "1e39", "0.1234567890123456789",
           "12345678.9", "100000000.0", "0.001", "0.0001", "-0.0", "1e23", "9.5e-7", "16777217", "1.005", "2.675", "999999999999999999.99"]  # fmt: skip
BAD_NUMBERS = ["01", "00", "+1", ".5", "1.", "-", "1e", "0x10", "1_000", "NaN", "Infinity", "-Infinity", "+Infinity", "INF", "nan", "1,5", "--1", "1f", "1L", "-.5", "- 1"]
TEXTS = ['""', '" "', '"1"', '"1.5"', '"-7"', '" 1"', '"abc"', '"true"', '"false"', '"NaN"', '"Infinity"', '"-Infinity"', '"+Infinity"', '"INF"', '"-INF"', '"+INF"', '"nan"',
         '"inf"', '"1e3"', '"null"', '"é"', '"\\u00e9"', '"\\ud83d\\ude00"', '"😀"', '"a\\nb"', '"a\\tb"', '"a\\/b"', '"\\"q\\""', '"\\\\"', '"\\u0000"', '"\\u001f"', '"\\b\\f\\r"', '"\\ud800"',
         '"\\x"', '"\\u12"', '"日本語"', '"\\u65e5"', '"2026-01-01"', '"<>&\'"', '"\u2028"', '"\ufeff"', '"unfinished']  # fmt: skip
OTHERS = ["null", "true", "false", "True", "TRUE", "nul", "[]", "{}", "[1]", "[1, 2]", "[ 1 ,2 ]", '{"a": 1}', '{ "a" : 1 , "b":"x" }', '[{"a":1}]', '[null]', '[[1],[2,3]]',
          '{"a":{"b":[1,"x",null]}}', '{"a":1.50,"b":1e2}', '{"a":"\\u00e9"}', "", "undefined", "[1,]", '{"a":1,}', "{a:1}", "[", "{"]  # fmt: skip
DATES = ["2026-01-01", "2026-1-5", "2026-01-5", "2026-1-05", "2026-02-28", "2026-02-29", "2024-02-29", "2026-02-30", "2026-13-01", "2026-00-01", "2026-01-00", "2026-01-32", "2026", "2026-01", "20260101",
         "2026/01/01", "01-01-2026", "26-01-01", "0026-01-01", "0001-01-01", "0000-01-01", "-0001-01-01", "1582-10-04", "1582-10-10", "1969-12-31", "1900-01-01", "9999-12-31", "10000-01-01", "+10000-01-01", "+2026-01-01",
         "2026-01-01T00:00:00Z", "2026-01-01T10:00:00", "2026-01-01 10:00:00", "2026-01-01 ", " 2026-01-01", "2026-01-01x", "2026-01-01T", "epoch", "now", "today", "yesterday", "", " ", "x", "2026-01-01Z", "2026-01-01+02:00",
         "2026-01-01T23:30:00-05:00", "2026-W01-1", "2026-001", "12026-01-01", "999999-01-01", "2026-01-01T25:00:00Z"]  # fmt: skip
TIMES = ["2026-01-01T10:11:12Z", "2026-01-01T10:11:12", "2026-01-01 10:11:12", "2026-01-01T10:11:12.1Z", "2026-01-01T10:11:12.12", "2026-01-01T10:11:12.123Z", "2026-01-01T10:11:12.123456Z", "2026-01-01T10:11:12.1234567Z",
         "2026-01-01T10:11:12.123456789Z", "2026-01-01T10:11:12.1234567891Z", "2026-01-01T10:11:12.", "2026-01-01T10:11:12.999999999", "2026-01-01T10:11:12+02:00", "2026-01-01T10:11:12-05:30", "2026-01-01T10:11:12+0200",
         "2026-01-01T10:11:12+02", "2026-01-01T10:11:12+2:00", "2026-01-01T10:11:12 +02:00", "2026-01-01T10:11:12 Z", "2026-01-01T10:11:12z", "2026-01-01t10:11:12Z", "2026-01-01T10:11:12UTC", "2026-01-01T10:11:12 UTC",
         "2026-01-01T10:11:12 Europe/Moscow", "2026-01-01T10:11:12Europe/Moscow", "2026-01-01T10:11:12[Europe/Moscow]", "2026-01-01T10:11:12+01:00[Europe/Paris]", "2026-01-01 10:11:12 GMT+3", "2026-01-01 10:11:12 America/New_York", "2026-01-01T10:11:12+18:00", "2026-01-01T10:11:12+19:00",
         "2026-01-01T10:11:12+02:00:30", "2026-01-01T10:11Z", "2026-01-01T10:11", "2026-01-01 10:11", "2026-01-01T10", "2026-01-01 10", "2026-01-01T", "2026-01-01 ", " 2026-01-01 10:11:12 ", "2026-01", "2026", "2026-1-1 1:2:3", "2026-1-5T1:02:03Z",
         "2026-01-01T24:00:00", "2026-01-01T23:59:60", "2026-01-01T10:60:00", "2026-02-30T00:00:00Z", "2026-01-01T1:2:3.4", "2026/01/01 10:11:12", "1969-12-31T23:59:59.5Z", "1900-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1582-10-10T00:00:00Z",
         "9999-12-31T23:59:59.999999Z", "10000-01-01T00:00:00Z", "+10000-01-01T00:00:00Z", "294247-01-10T04:00:54.775807Z", "294248-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "1767225600", "1767225600000", "1767225600.5", "0", "-1", "epoch", "now", "today", "tomorrow", "", " ", "x", "null",
         "Thu, 01 Jan 2026 10:11:12 GMT", "2026-01-01T10:11:12,5Z", "20260101T101112Z", "2026-01-01T10:11:12.5+03:00", "2026-01-01 10:11:12.000001 -08:00", "2026-01-01T10:11:12+00:00", "2026-01-01T10:11:12-00:00", "2026-01-01T10:11:12 PST", "2026-01-01T10:11:12 +3", "2026-03-29T02:30:00 Europe/Berlin", "2026-10-25T02:30:00 Europe/Berlin"]  # fmt: skip
TIME_NUMBERS = ["0", "1", "-1", "1767225600", "1767225600.5", "1767225600.123456789", "1.7672256e9", "1767225600000", "1767225600000000", "253402300800", "9223372036854", "9223372036855", "-62135596800", "1e12", "1e400", "0.000001", "-0.5", "9223372036854775807", "99999999999999999999"]
DECIMALS = ["0", "1", "1.0", "1.5", "1.50", "1.500", "1.005", "1.004", "1.015", "-1.005", "2.675", "0.005", "0.004999", "-0.005", "9999999999.99", "9999999999.994", "9999999999.995", "10000000000", "-9999999999.99", "1e2", "1.5e3", "1E-2", "1e-3", "1e9", "1e10", "1e-400", "0e0", "-0", "-0.0", "123456789.123456789",
            "12345678901234567890", "0.10", "1e400", "100", "1.23456789012345678901234567890123456789"]  # fmt: skip
WIDE = ["1.5", "0.12345678901", "0.00000000005", "0.00000000004", "9999999999999999999999999999.9999999999", "9999999999999999999999999999.99999999995", "10000000000000000000000000000", "12345678901234567890123456.7890123456", "-12345678901234567890123456.7890123456", "1e27", "1e28", "1e-10", "1e-11", "0.1", "123456789012345678.123456789012345678", "1E+5"]
BINARY = ['"SGVsbG8="', '"SGVsbG8"', '""', '"YQ=="', '"YQ"', '"YQ="', '"!!!"', '"AAEC/w=="', '"AAEC_w=="', '"-_-_"', '"YW Jj"', '"YWJj\\n"', '"a"', '"ab"', '"abc"', '"abcd"', '"abcde"', "1", "true", "[]", "{}", '" YQ=="', '"YQ==YQ=="', '"é"', "null", "[1,2]", "1.5"]
STRUCTS = ['{"a":1,"b":"x"}', '{"b":"x"}', "{}", '{"a":null,"b":null}', '{"a":"x"}', '{"a":"1"}', '{"a":1.0}', '{"a":1,"a":2}', '{"A":1}', '{"a":1,"z":[1,{"q":2}]}', '{"b":5}', '{"b":{"k": 1}}', '{"b":[1, 2]}', '{"b":true,"a":3}', "[]", "[1,2]", '[{"a":1}]', '"x"', '""', '"{}"', "1", "true", "null", '{"a":3000000000,"b":"y"}', '{"a":1,"b":"x"', '{"a":01}']
ARRAYS = ["[]", "[1,2,3]", "[null]", "[1,null,2]", '["1"]', '["x"]', "[1.0]", "[1.5]", "[[1]]", "[{}]", "[true]", "{}", '{"0":1}', "1", '"x"', '""', '"[1]"', "null", "[1,2", "[1,,2]", "[3000000000]", "[1,3000000000,2]", "[01]"]
TEXT_ARRAYS = ["[]", '["a","b"]', '["a",null]', "[1, 2.50, true]", '[{"k": 1}]', '[["x"], []]', '"a"', "{}", "null", '["\\u00e9","😀"]', '[""]']
STRUCT_ARRAYS = ["[]", '[{"a":1,"b":"x"}]', '[{"a":1},null,{}]', '{"a":1,"b":"x"}', '[{"a":"x"}]', '[1]', '[[{"a":1}]]', "null", '"x"', '[{"a":1},{"a":"x"}]']
MAPS = ["{}", '{"a":1}', '{"a":1,"b":2}', '{"a":null}', '{"a":"1"}', '{"a":"x"}', '{"b":"x","a":1}', '{"a":1,"a":2}', '{"":1}', '{"é":1,"\\u0041":2}', "[]", '[{"a":1}]', "1", '"x"', '""', "null", '{"a":1.5}', '{"a":{}}', '{"a":3000000000}', '{"a":1']
NESTED_MAPS = ['{"k":{"a":1,"b":[1,2]}}', '{"k":{"a":1,"b":[]},"l":null}', '{"k":{}}', '{"k":{"b":[1,"x"]}}', '{"k":[]}', "{}", "null", '{"k":{"a":1,"b":{"z":1}}}']
SPECIAL_RECORDS = ["null", "true", "1", '"x"', "[]", "{}", "", " ", "\t", '[{"i":1,"s":"a"},{"i":2}]', '[{"i":1},{"i":"x"}]', "[1,2]", "[null]", '[{"i":1},null]', '[[{"i":1}]]', '[{}]', '{"i":1', '{"i":01}', '{"i":1,}', '{,"i":1}', '{"i" 1}', '{"i":}', "{i:1}", '{"i":1 "s":"x"}', '{"i":1;"s":"x"}',
                   '  {"i":5}  ', '\t{"i":6}\t', '{"i":1,"i":2}', '{"i":"x","i":2}', '{"i":1,"i":"x"}', '{"I":1}', '{"S":"x","i":3}', '{"x":{"deep":[1,2,{"y":null}]},"i":9}', '{"i":null,"s":null}', '{"s":"x","i":7}', '{"\\u0069":8}', '{"i":1e2}', '{"i":7,"extra":01}', '{"i":7,"extra":tru}', '{"i":7,"extra":"\\q"}', "nothing", '{"i":NaN}', '{"s":NaN}', '{"s":Infinity}',
                   '{"i":1,"i":null}', '{"s":"a","s":null}', '{"st":{"a":1},"st":{"b":"x"}}', '{"i":7,"st":{"a":"x","b":"keep"}}', '{"": 1, "i": 4}', '{"i":7,"s":"' + "y" * 300 + '"}', '/* c */{"i":7}', '\ufeff{"i":7}', '{"s":"\x01"}', '{"s":"a\tb"}', '{"s":"\x7f"}']  # fmt: skip


def quoted(texts):
    return [json.dumps(text, ensure_ascii=False) for text in texts]


# (name, type, values); whole records are apart
COMMON = NUMBERS + BAD_NUMBERS + TEXTS + OTHERS
FIXED = [(f"{kind}-odd", kind, COMMON) for kind in ("string", "boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "decimal(12,2)", "decimal(38,10)")]
FIXED += [
    ("date-forms", "date", quoted(DATES) + NUMBERS[:20] + OTHERS),
    ("timestamp-forms", "timestamp", quoted(TIMES)),
    ("timestamp-dates", "timestamp", quoted(DATES)),
    ("timestamp-numbers", "timestamp", TIME_NUMBERS + BAD_NUMBERS + OTHERS),
    ("decimal-rounding", "decimal(12,2)", DECIMALS + quoted(DECIMALS)),
    ("decimal-wide", "decimal(38,10)", WIDE + quoted(WIDE)),
    ("decimal-whole", "decimal(5,0)", DECIMALS),
    ("decimal-texts", "decimal(12,2)", quoted(BAD_NUMBERS + [" 1", "1 ", "$1", "1,000.5", "1 000", "(1)", "1,000", "1,0,0", "1e2", "0x1", "١"])),
    ("double-texts", "double", quoted(BAD_NUMBERS + ["1d", " NaN", "NaN ", "-NaN", "infinity", "Inf"])),
    ("float-texts", "float", quoted(BAD_NUMBERS)),
    ("binary-forms", "binary", BINARY),
    ("struct-forms", "struct<a:int,b:string>", STRUCTS),
    ("array-int-forms", "array<int>", ARRAYS),
    ("array-string-forms", "array<string>", TEXT_ARRAYS),
    ("array-struct-forms", "array<struct<a:int,b:string>>", STRUCT_ARRAYS),
    ("map-forms", "map<string,int>", MAPS),
    ("map-nested-forms", "map<string,struct<a:int,b:array<int>>>", NESTED_MAPS),
    ("array-array-forms", "array<array<int>>", ["[[1],[2,3]]", "[]", "[[]]", "[null,[1,null]]", "[1]", '[["x"]]', "null", '[[1],["x"]]']),
    ("array-decimal-forms", "array<decimal(12,2)>", ["[1.005,2]", '["1.50"]', "[1e3]", "[10000000000]", "null", "[null]", '["x"]']),
    ("array-timestamp-forms", "array<timestamp>", ['["2026-01-01T00:00:00Z"]', '["x"]', "[0]", "[null]", '["2026-01-01"]', "[]"]),
    ("struct-nested-forms", "struct<p:struct<q:int,r:date>,s:array<string>>", ['{"p":{"q":1,"r":"2026-01-01"},"s":["x"]}', '{"p":{"q":"x"}}', '{"p":{"r":"x"},"s":[1]}', '{"p":null}', '{"p":{}}', '{"s":{"a": 1}}', '{"p":[1]}', "{}", '{"p":{"q":1,"zz":{}},"zz":1}']),
]  # fmt: skip
# Spark takes these, Tidegate refuses them on purpose.
LENIENT = ['{"i":1}]', '{"i":1}}', '{"i":7}#', '{"i":7}//c', '{"i":1} tail', '{"i":1}{"i":2}', '{"i":1},{"i":2}', "{'i':1}", '{"s":\'single\'}', "{'s':'both'}"]
DECIDED = "text after the value and single quotes do not fit in Tidegate"
RECORDS = ("records", "i int, s string, st struct<a:int,b:string>")
TEXT = {"float", "double", "timestamp", "date", "decimal(12,2)", "decimal(38,10)", "decimal(5,0)"}
FIXED_COUNT = len(FIXED) + 2


def random_number(rng):
    """A number in any legal form."""
    whole = str(rng.choice([0, rng.randrange(10), rng.randrange(10**4), rng.randrange(10**rng.randint(1, 22))]))
    text = rng.choice(["", "", "-"]) + whole
    if rng.random() < 0.6:
        text += "." + "".join(rng.choice("0123456789") for _ in range(rng.randint(1, rng.choice([3, 3, 20]))))
    if rng.random() < 0.25:
        text += f"{rng.choice('eE')}{rng.choice(['', '-', '+'])}{rng.randrange(rng.choice([4, 25, 330]))}"
    return text


def random_time(rng):
    """A text near to a timestamp."""
    text = f"{rng.choice([2026, 2024, 1970, 1815, 26, 12026])}-{rng.choice(['01', '2', '06', '12', '13'])}-{rng.choice(['01', '9', '29', '31'])}"
    if rng.random() < 0.8:
        text += rng.choice("TTT ") + f"{rng.choice(['00', '7', '23', '24'])}:{rng.choice(['00', '5', '59'])}"
        if rng.random() < 0.85:
            text += f":{rng.choice(['00', '3', '59'])}"
            if rng.random() < 0.6:
                text += "." + "".join(rng.choice("0123456789") for _ in range(rng.randint(1, 10)))
        text += rng.choice(["", "Z", "+02:00", "-0330", "+7", " UTC", " Europe/Moscow", "-11:59"])
    return json.dumps(text)


def random_value(rng, kind):
    """JSON text that fits the type, or nearly."""
    draw = rng.random()
    if draw < 0.15:
        return rng.choice(COMMON)
    if kind in ("timestamp", "date") and draw < 0.8:
        return random_time(rng)
    if kind in values.COLUMNS.values() and draw < 0.3 or "<" in kind or kind in ("string", "boolean", "binary"):
        return values.json_value(rng, rng.choice([n for n, t in values.COLUMNS.items() if t == kind]))
    number = random_number(rng)
    return json.dumps(number) if rng.random() < 0.15 else number


def draw(rng, index):
    """The fixed cases first, then values by chance for a random type."""
    case = {"watermark": None, "scope": "stream", "approx": False}
    if index == len(FIXED) + 1:
        query = "SELECT i, s FROM t"
        return case | {"topic": "lenient", "columns": "i int, s string", "query": query, "batches": [LENIENT], "decided": DECIDED}
    if index == len(FIXED):
        topic, columns = RECORDS
        return case | {"topic": topic, "columns": columns, "query": "SELECT i, s, st FROM t", "batches": [SPECIAL_RECORDS]}
    if index < len(FIXED):
        topic, kind, texts = FIXED[index]
    else:
        kind = rng.choice(sorted(set(values.COLUMNS.values())))
        topic, texts = "drawn-" + kind.split("<")[0].split("(")[0], [random_value(rng, kind) for _ in range(40)]
    lines = [f'{{"n":{n},"c":{text}}}' for n, text in enumerate(texts)]
    query = "SELECT n, c, cast(c AS string) AS text FROM t" if kind in TEXT else "SELECT n, c FROM t"
    return case | {"topic": topic, "columns": f"n int, c {kind}", "query": query, "batches": [lines]}
