"""Family `raises`: expressions that stop Spark's query for some rows. Per line the error class, or the row."""

import json
import re

import spark_session

COLUMNS = ("i int, j int, l bigint, ti tinyint, si smallint, d double, f float, m decimal(12,2), w decimal(38,10), s string, b boolean, "
           "dt date, ts timestamp, ai array<int>, mp map<string,int>")  # fmt: skip
# expression, lines
FIXED = [
    ("i / j", ['{"i":7,"j":2}', '{"i":7,"j":0}', '{"i":null,"j":0}', '{"i":0,"j":0}']),
    ("i % j", ['{"i":7,"j":4}', '{"i":7,"j":0}', '{"i":null,"j":0}']),
    ("i DIV j", ['{"i":7,"j":4}', '{"i":7,"j":0}']),
    ("pmod(i, j)", ['{"i":-7,"j":4}', '{"i":7,"j":0}']),
    ("mod(m, m - m)", ['{"m":1.5}', '{"m":null}']),
    ("d / (d - d)", ['{"d":1.5}', '{"d":null}', '{"d":"NaN"}']),
    ("d / i", ['{"d":1.5,"i":0}', '{"d":1.5,"i":2}', '{"d":0,"i":0}']),
    ("m / j", ['{"m":1.5,"j":0}', '{"m":1.5,"j":3}']),
    ("f % i", ['{"f":1.5,"i":0}', '{"f":5.5,"i":3}']),
    ("i + j", ['{"i":2147483647,"j":1}', '{"i":2147483646,"j":1}', '{"i":-2147483648,"j":-1}']),
    ("i - j", ['{"i":-2147483648,"j":1}', '{"i":5,"j":1}']),
    ("i * j", ['{"i":65536,"j":65536}', '{"i":65535,"j":3}']),
    ("- i", ['{"i":-2147483648}', '{"i":5}']),
    ("abs(i)", ['{"i":-2147483648}', '{"i":-5}']),
    ("l + 1", ['{"l":9223372036854775807}', '{"l":9223372036854775806}']),
    ("l * l", ['{"l":4294967296}', '{"l":3037000499}']),
    ("l DIV -1", ['{"l":-9223372036854775808}', '{"l":10}']),
    ("ti + ti", ['{"ti":100}', '{"ti":63}']),
    ("si * si", ['{"si":200}', '{"si":181}']),
    ("cast(i AS tinyint)", ['{"i":127}', '{"i":128}', '{"i":-129}']),
    ("cast(i AS smallint)", ['{"i":32767}', '{"i":32768}']),
    ("cast(l AS int)", ['{"l":2147483647}', '{"l":2147483648}']),
    ("cast(d AS int)", ['{"d":2147483647.9}', '{"d":2147483648.0}', '{"d":"NaN"}', '{"d":-1.9}', '{"d":"Infinity"}']),
    ("cast(d AS bigint)", ['{"d":1e18}', '{"d":1e19}', '{"d":"NaN"}']),
    ("cast(d AS decimal(5,2))", ['{"d":999.994}', '{"d":999.995}', '{"d":1e10}', '{"d":"NaN"}']),
    ("cast(m AS decimal(4,2))", ['{"m":99.99}', '{"m":100}']),
    ("cast(m AS tinyint)", ['{"m":127.99}', '{"m":128}']),
    ("cast(i AS decimal(3,1))", ['{"i":99}', '{"i":100}']),
    ("cast(s AS int)", ['{"s":"12"}', '{"s":" 12 "}', '{"s":"x"}', '{"s":""}', '{"s":"1.5"}', '{"s":"3000000000"}', '{"s":"+7"}', '{"s":null}', '{"s":"1e2"}', '{"s":"0x1"}']),
    ("cast(s AS bigint)", ['{"s":"9223372036854775807"}', '{"s":"9223372036854775808"}', '{"s":"1 2"}']),
    ("cast(s AS double)", ['{"s":"1.5"}', '{"s":"x"}', '{"s":""}', '{"s":"NaN"}', '{"s":"inf"}', '{"s":"1e400"}', '{"s":"1.5d"}', '{"s":" 2 "}', '{"s":".5"}', '{"s":"1,5"}', '{"s":"-Infinity"}']),
    ("cast(s AS decimal(6,2))", ['{"s":"1.505"}', '{"s":"x"}', '{"s":"10000"}', '{"s":""}', '{"s":"1e2"}', '{"s":" 3 "}']),
    ("cast(s AS boolean)", ['{"s":"true"}', '{"s":"T"}', '{"s":"yes"}', '{"s":"1"}', '{"s":"0"}', '{"s":"no"}', '{"s":"n"}', '{"s":"on"}', '{"s":"x"}', '{"s":""}', '{"s":" false "}', '{"s":"2"}']),
    ("cast(s AS date)", ['{"s":"2026-01-05"}', '{"s":"2026-1-5"}', '{"s":"2026"}', '{"s":"2026-01"}', '{"s":"2026-02-30"}', '{"s":"x"}', '{"s":""}', '{"s":"2026-01-05 10:00:00"}', '{"s":"2026-01-05T99"}', '{"s":" 2026-01-05 "}', '{"s":"05.01.2026"}', '{"s":"today"}', '{"s":"12026-01-01"}']),
    ("cast(s AS timestamp)", ['{"s":"2026-01-05 10:11:12"}', '{"s":"2026-01-05"}', '{"s":"2026-01-05T10:11Z"}', '{"s":"x"}', '{"s":""}', '{"s":"2026-01-05 25:00:00"}', '{"s":"2026-01-05 10:11:12 Europe/Moscow"}', '{"s":"2026"}', '{"s":"1767225600"}', '{"s":"epoch"}', '{"s":"2026-01-05 10:11:12.1234567"}']),
    ("i + s", ['{"i":1,"s":"2"}', '{"i":1,"s":"x"}', '{"i":1,"s":"2.5"}']),
    ("i = s", ['{"i":1,"s":"1"}', '{"i":1,"s":"x"}', '{"i":1,"s":null}']),
    ("dt > s", ['{"dt":"2026-01-01","s":"2025-01-01"}', '{"dt":"2026-01-01","s":"x"}']),
    ("ai[0]", ['{"ai":[5,6]}', '{"ai":[]}', '{"ai":null}', '{"ai":[null]}']),
    ("ai[i]", ['{"ai":[5,6],"i":1}', '{"ai":[5,6],"i":2}', '{"ai":[5,6],"i":-1}', '{"ai":[5,6],"i":null}']),
    ("element_at(ai, i)", ['{"ai":[5,6],"i":1}', '{"ai":[5,6],"i":3}', '{"ai":[5,6],"i":0}', '{"ai":[5,6],"i":-2}']),
    ("elt(i, 'a', s)", ['{"i":1,"s":"z"}', '{"i":3,"s":"z"}', '{"i":0,"s":"z"}']),
    ("element_at(mp, 'k')", ['{"mp":{"k":1}}', '{"mp":{"a":1}}']),
    ("mp['k']", ['{"mp":{"k":1}}', '{"mp":{"a":1}}', '{"mp":null}']),
    ("split(s, ',')[1]", ['{"s":"a,b"}', '{"s":"a"}']),
    ("make_date(i, j, 1)", ['{"i":2026,"j":2}', '{"i":2026,"j":13}']),
    ("to_date(s, 'dd.MM.yyyy')", ['{"s":"05.01.2026"}', '{"s":"2026-01-05"}', '{"s":"31.02.2026"}', '{"s":"5.1.2026"}']),
    ("to_timestamp(s)", ['{"s":"2026-01-05 10:11:12"}', '{"s":"x"}']),
    ("to_timestamp(s, 'yyyy-MM-dd HH:mm')", ['{"s":"2026-01-05 10:11"}', '{"s":"2026-01-05"}', '{"s":"2026-01-05 10:11:12"}']),
    ("unix_timestamp(s)", ['{"s":"2026-01-05 10:11:12"}', '{"s":"x"}', '{"s":"2026-01-05"}']),
    ("unix_timestamp(s, 'yyyy/MM/dd')", ['{"s":"2026/01/05"}', '{"s":"2026-01-05"}']),
    ("next_day(dt, s)", ['{"dt":"2026-01-05","s":"Mon"}', '{"dt":"2026-01-05","s":"x"}']),
    ("date_add(dt, i)", ['{"dt":"2026-01-05","i":10}', '{"dt":"2026-01-05","i":2147483647}']),
    ("timestamp_seconds(l)", ['{"l":1767225600}', '{"l":9223372036854775807}']),
    ("w * w", ['{"w":1.5}', '{"w":9999999999999999999999999999.5}']),
    ("w + w", ['{"w":1.5}', '{"w":9999999999999999999999999999.5}']),
    ("m * 10000000000000000000000000000.0 * m", ['{"m":1.5}', '{"m":9999999999.99}']),
    ("round(i, -9)", ['{"i":2147483647}', '{"i":5}']),
    ("factorial(i)", ['{"i":20}', '{"i":21}', '{"i":-1}']),
    ("unhex(s)", ['{"s":"61"}', '{"s":"zz"}', '{"s":"6"}']),
    ("to_number(s, '999')", ['{"s":"123"}', '{"s":"x"}']),
    ("conv(s, 10, 16)", ['{"s":"255"}', '{"s":"99999999999999999999"}', '{"s":"x"}']),
    ("sqrt(d)", ['{"d":4}', '{"d":-1}']),
    ("ln(d)", ['{"d":1}', '{"d":0}', '{"d":-1}']),
    ("floor(d)", ['{"d":2.7}', '{"d":1e30}', '{"d":"NaN"}']),
    ("CASE WHEN j <> 0 THEN i / j ELSE -1 END", ['{"i":6,"j":0}', '{"i":6,"j":3}']),
    ("coalesce(i, 1 / j)", ['{"i":6,"j":0}', '{"i":null,"j":0}', '{"i":null,"j":4}']),
    ("if(b, cast(s AS int), 0)", ['{"b":true,"s":"x"}', '{"b":false,"s":"x"}', '{"b":true,"s":"4"}']),
    ("j <> 0 AND i / j > 1", ['{"i":6,"j":0}', '{"i":6,"j":3}']),
    ("from_json(s, 'a int', map('mode', 'FAILFAST'))", ['{"s":"{\\"a\\":1}"}', '{"s":"{\\"a\\":\\"x\\"}"}']),
    ("raise_error(s)", ['{"s":"boom"}']),
    ("assert_true(i > 0)", ['{"i":1}', '{"i":-1}']),
    ("sequence(i, j, 1)", ['{"i":1,"j":3}', '{"i":3,"j":1}']),
    ("rlike(s, s)", ['{"s":"a"}', '{"s":"("}']),
    ("decode(unbase64(s), 'UTF-8')", ['{"s":"YWJj"}', '{"s":"!!!"}']),
    ("url_decode(s)", ['{"s":"a%20b"}', '{"s":"%zz"}']),
    ("map_from_arrays(array(s, s), array(1, 2))", ['{"s":"k"}']),
    ("width_bucket(d, 0, 10, i)", ['{"d":3,"i":5}', '{"d":3,"i":0}']),
    ("months_between(ts, dt)", ['{"ts":"2026-01-05T10:00:00Z","dt":"2025-01-05"}']),
    ("cast(ts AS int)", ['{"ts":"2026-01-05T10:00:00Z"}', '{"ts":"2100-01-01T00:00:00Z"}']),
    ("cast(d AS timestamp)", ['{"d":1.5}', '{"d":"NaN"}', '{"d":1e30}']),
    ("cast(l AS timestamp)", ['{"l":1}', '{"l":9223372036854775807}']),
    ("date_format(ts, s)", ['{"ts":"2026-01-05T10:00:00Z","s":"yyyy"}', '{"ts":"2026-01-05T10:00:00Z","s":"bbb"}']),
]  # fmt: skip
FIXED_COUNT = len(FIXED)


NEAR = {
    "i": [0, 1, -1, 7, 2147483647, -2147483648, 65536, 46341, None], "j": [0, 1, -1, 3, 2147483647, -2147483648, 65536, None],
    "l": [0, 1, -1, 9223372036854775807, -9223372036854775808, 4294967296, 2147483648, None], "ti": [0, 63, 64, 127, -128, None],
    "si": [0, 181, 182, 32767, -32768, None], "d": [0.0, 1.5, 2147483648.0, -2147483649.5, 1e19, 1e308, "NaN", "-Infinity", None],
    "f": [0.0, 2.5, 1e38, None], "m": [0, 1.25, 9999999999.99, -9999999999.99, None],
    "s": ["", "0", "12", " 7", "1.5", "x", "true", "no", "2026-01-05", "2026-02-30", "2026-01-05 10:11:12", "1e3", "99999999999999999999", "a,b", None],
    "b": [True, False, None], "ai": [[], [1], [1, 2, None], None],
}  # fmt: skip
SHAPES = ["i + j", "i - j", "i * j", "i / j", "i % j", "i DIV j", "l + i", "l - j", "l * i", "ti * 2", "ti - ti * ti", "si + si", "d / j", "m * i", "m / i",
          "cast(l AS int)", "cast(d AS int)", "cast(d AS bigint)", "cast(i AS smallint)", "cast(m AS int)", "cast(s AS int)", "cast(s AS double)", "cast(s AS boolean)",
          "cast(s AS date)", "cast(s AS timestamp)", "cast(s AS decimal(5,1))", "cast(d AS decimal(12,3))", "cast(l AS decimal(10,0))", "ai[i]", "abs(l)", "- ti", "pmod(i, j)",
          "i + s", "s = i", "split(s, ',')[1]", "if(b, i / j, 0)", "CASE WHEN b THEN cast(s AS int) END", "m + l", "m * m", "f * f", "cast(f AS tinyint)"]  # fmt: skip


def drawn(rng):
    """An expression over values near to the bounds of their types."""
    expression = rng.choice(SHAPES)
    words = re.findall(r"\w+", expression)
    lines = [json.dumps({name: rng.choice(near) for name, near in NEAR.items() if name in words}) for _ in range(6)]
    return expression, lines


def draw(rng, index):
    """One expression and its lines."""
    expression, lines = FIXED[index] if index < len(FIXED) else drawn(rng)
    words = set(expression.replace("(", " ").replace(")", " ").replace(",", " ").replace("[", " ").replace("]", " ").split())
    columns = ", ".join(c for c in COLUMNS.replace("decimal(12,2)", "decimal(12;2)").replace("decimal(38,10)", "decimal(38;10)").split(", ") if c.split()[0] in words)
    return {
        "columns": columns.replace(";", ","),
        "watermark": None,
        "query": f"SELECT {expression} AS x FROM t",
        "scope": "stream",
        "approx": False,
        "batches": [lines],
    }


def answer(spark, case):
    """Asks for each line alone. `raises` lists [line, error class]; `expect` holds the rows of the other lines."""
    case |= {"mode": "append", "drain": None, "raises": [[]]}
    case["rejected"] = spark_session.rejected_lines(spark, case["batches"], case["columns"])
    rows = []
    for index, line in enumerate(case["batches"][0]):
        if index in case["rejected"][0]:
            continue
        try:
            expect, case["schema"] = spark_session.run_batches(spark, case | {"batches": [[line]], "rejected": [[]]})
            rows += expect[0]["rows"]
        except Exception as error:  # Spark's errors have no common base class
            case["raises"][0].append([index, spark_session.error_class(error)])
    case["expect"] = [{"rows": rows, "watermark_after": None, "late": 0}]
    if "schema" not in case:
        spark_session.read_lines(spark, [], case["columns"]).createOrReplaceTempView("t")
        case["schema"] = spark_session.schema_of(spark.sql(case["query"]))
