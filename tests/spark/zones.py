#!/usr/bin/env python3
"""Records Spark's answers to expressions over dates and times in several session time zones.

    venv/bin/python tests/spark/zones.py                              rewrites drawn/zones.jsonl.gz, about 2 minutes
    venv/bin/python tests/spark/zones.py --seed 7 --to /tmp/other.jsonl.gz    other ones, for a wider comparison

The form is that of `typed.py`; a world has a `zone` beside its table. Columns are made of constants that mean the same in
every zone. Instants lie around the changes of the zone's offset: gaps, overlaps, before 1900 with offsets of whole
seconds, 1582, the first and the last year. A timestamp is asked for as a text and, where its instant matters, as
microseconds: the text of an hour that comes twice does not tell which one is meant.
"""

import argparse
import gzip
import json
import random

import spark_session
import typed
from typed import HERE, World

# Changes of the offset, UTC.
ZONES = {
    "America/New_York": ["1883-11-18T17:00:00", "1918-03-31T07:00:00", "2007-03-11T07:00:00", "2026-03-08T07:00:00", "2026-11-01T06:00:00"],
    "Asia/Kolkata": ["1854-06-27T18:06:32", "1869-12-31T18:06:32", "1905-12-31T18:38:50", "1941-09-30T18:30:00", "1945-10-14T17:30:00"],
    "Europe/Berlin": ["1893-03-31T23:06:32", "1916-04-30T22:00:00", "1945-05-24T00:00:00", "2026-03-29T01:00:00", "2026-10-25T01:00:00"],
    "Pacific/Apia": ["1892-07-04T11:26:56", "1911-01-01T11:26:56", "2010-09-26T11:00:00", "2011-12-30T10:00:00", "2012-03-31T14:00:00"],
    "Australia/Lord_Howe": ["1895-01-31T13:23:40", "1981-02-28T14:00:00", "2026-04-04T15:00:00", "2026-10-03T15:30:00", "2027-04-03T15:00:00"],
    "America/Sao_Paulo": ["1914-01-01T03:06:28", "1931-10-03T14:00:00", "2017-10-15T03:00:00", "2018-02-18T02:00:00", "2018-11-04T03:00:00"],
    "+02:00": ["1970-01-01T00:00:00", "2026-03-29T01:00:00", "1899-12-31T22:00:00", "2026-10-25T01:00:00", "2000-02-29T22:00:00"],
}  # fmt: skip
OLD = ["1582-10-04T23:00:00", "1582-10-15T05:00:00", "0001-01-01T12:00:00", "1800-06-15T11:22:33", "1899-12-31T23:59:59",
       "9999-12-31T05:00:00", "1970-01-01T00:00:00", "2024-02-29T12:00:00", "2150-07-01T10:30:00", "2100-12-31T23:59:59"]  # fmt: skip
ROWS = 10

PARTS = ["YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND"]
FORMATS = ["yyyy-MM-dd HH:mm:ss", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "dd/MM/yy hh:mm a", "HH:mm:ss.SSSSSS", "D EEEE MMMM",
           "yyyy-MM-dd HH:mm:ss VV", "xxx XX X Z O", "yyyy-MM-dd HH"]  # fmt: skip
PARSED = ["yyyy-MM-dd HH:mm:ss", "yyyy-MM-dd HH:mm:ss[.SSSSSS]", "yyyy-MM-dd HH:mm"]
INTERVALS = ["INTERVAL '1' DAY", "INTERVAL '-1' DAY", "INTERVAL '1' HOUR", "INTERVAL '24' HOUR", "INTERVAL '1 01:30:00' DAY TO SECOND",
             "INTERVAL '-0 23:59:59.5' DAY TO SECOND", "INTERVAL '1' MONTH", "INTERVAL '-6' MONTH", "INTERVAL '1-1' YEAR TO MONTH",
             "INTERVAL '30' MINUTE"]  # fmt: skip

# {T}: timestamp, {N}: timestamp_ntz, {D}: date, {S}: a timestamp's text, {L}: seconds, {I}: a small number.
TEMPLATES = [
    "cast({T} AS string)", "cast({T} AS date)", "unix_micros(cast({T} AS timestamp))", "cast({T} AS timestamp_ntz)", "cast({T} AS bigint)",
    "cast({T} AS double)", "cast({T} AS decimal(20,6))", "unix_micros(cast({D} AS timestamp))", "cast({D} AS timestamp_ntz)",
    "unix_micros(cast({N} AS timestamp))", "cast({N} AS date)", "cast({N} AS string)", "unix_micros(cast({S} AS timestamp))",
    "cast({S} AS timestamp_ntz)", "cast({S} AS date)", "cast({L} AS timestamp)", "unix_micros(try_cast({S} AS timestamp))",
    "unix_micros({X})", "unix_micros({X})", "cast({S} AS timestamp) = {T}", "{D} < {T}", "{N} >= {T}", "{D} = {N}", "{T} BETWEEN {D} AND {N}",
    "unix_micros(coalesce({T}, {N}))", "unix_micros(greatest({T}, {D}))", "year({T})", "quarter({T})", "month({T})", "day({T})", "dayofyear({T})",
    "dayofweek({T})", "weekday({T})", "weekofyear({T})", "hour({T})", "minute({T})", "second({T})", "hour({N})", "hour({S})",
    "extract(SECOND FROM {T})", "extract(HOUR FROM {N})", "extract(YEAROFWEEK FROM {T})", "extract(DOW FROM {T})", "monthname({T})",
    "dayname({T})", "last_day({T})", "next_day({T}, 'MON')", "add_months({T}, {I})", "date_add({T}, {I})", "date_sub({T}, {I})",
    "datediff({T}, {T2})", "datediff({D}, {T})", "months_between({T}, {T2})", "months_between({T}, {D}, false)", "{D} - {D2}", "{T} - {T2}",
    "{T} - {D}", "{N} - {N2}", "{T} - {N}", "unix_micros({T} + {V})", "unix_micros({T} - {V})", "{D} + {V}", "{D} - {V}", "{N} + {V}",
    "unix_micros({T} + make_dt_interval({I}, 1))", "unix_micros({T} + make_ym_interval(0, {I}))",
    "unix_micros(date_trunc('{U}', {T}))", "unix_micros(date_trunc('{U}', {T}))", "unix_micros(date_trunc('{U}', {D}))",
    "unix_micros(date_trunc('{U}', {N}))", "trunc({T}, 'MONTH')", "trunc({T}, 'WEEK')", "date_format({T}, '{F}')", "date_format({T}, '{F}')",
    "date_format({D}, '{F}')", "date_format({N}, '{F}')", "from_unixtime({L})", "from_unixtime({L}, '{F}')", "unix_timestamp({S})",
    "unix_timestamp({T})", "unix_timestamp({D})", "to_unix_timestamp({S}, 'yyyy-MM-dd HH:mm:ss')", "unix_timestamp({N})",
    "unix_micros(to_timestamp({S}))", "unix_micros(to_timestamp({S}, '{P}'))", "unix_micros(try_to_timestamp({S}, '{P}'))",
    "to_date({S}, '{P}')", "to_date({T})", "to_timestamp_ntz({S})", "to_timestamp_ntz({T})", "unix_micros(to_timestamp({D}))",
    "unix_micros(to_timestamp_ltz({S}, '{P}'))", "unix_micros(make_timestamp(year({D}), month({D}), day({D}), {I2}, 30, 0.5))",
    "unix_micros(make_timestamp(2026, 3, 29, {I2}, 30, 15, 'Europe/Paris'))", "make_timestamp_ntz(2026, 3, 29, {I2}, 30, 15)",
    "unix_micros(make_timestamp_ltz(2018, 11, 4, {I2}, 0, 1.25))", "make_date(year({T}), 1, 1)", "unix_seconds({T})", "unix_millis({T})",
    "unix_date(cast({T} AS date))", "timestamp_seconds({L})", "timestamp_millis({L})", "date_from_unix_date({I})",
    "unix_micros(from_utc_timestamp({T}, 'America/Los_Angeles'))", "unix_micros(to_utc_timestamp({T}, 'Asia/Tokyo'))",
    "unix_micros(from_utc_timestamp({S}, '+05:30'))", "convert_timezone('Asia/Tokyo', {N})", "convert_timezone('UTC', 'Europe/Paris', {N})",
    "convert_timezone('Asia/Tokyo', {T})", "current_timezone()", "timestampdiff({U2}, {T}, {T2})", "timestampdiff({U2}, {T}, {T2})",
    "unix_micros(timestampadd({U2}, {I}, {T}))", "unix_micros(timestampadd({U2}, {I}, {T}))", "timestampadd({U2}, {I}, {N})",
    "timestampadd(DAY, {I}, {D})", "dateadd(MONTH, {I}, {T})", "datediff(HOUR, {D}, {T})",
    "to_json(struct({T} AS a, {N} AS b, {D} AS c))", "to_json(named_struct('a', array({T})))", "to_json(map('k', {T}))",
    "to_json(struct({T} AS a), map('timestampFormat', 'yyyy-MM-dd HH:mm:ss'))", "to_csv(struct({T} AS a, {N} AS b, {D} AS c))",
    "to_csv(struct({T} AS a), map('timestampFormat', 'dd/MM/yyyy HH:mm:ss'))",
    "unix_micros(from_json(concat('{{\"a\":\"', {S}, '\"}}'), 'a timestamp').a)", "from_json(concat('{{\"a\":\"', {S}, '\"}}'), 'a timestamp')",
    "from_json(concat('{{\"a\":\"', {S}, '\"}}'), 'a timestamp_ntz').a", "from_json(concat('{{\"a\":\"', {S}, '\"}}'), 'a date').a",
    "unix_micros(from_json(concat('{{\"a\":\"', {S}, '\"}}'), 'a timestamp', map('timestampFormat', 'yyyy-MM-dd HH:mm:ss')).a)",
    "unix_micros(from_csv({S}, 'a timestamp').a)", "unix_micros(from_csv({S}, 'a timestamp', map('timestampFormat', 'yyyy-MM-dd HH:mm:ss')).a)",
    "to_json(from_json(concat('{{\"a\":', {L}, '}}'), 'a timestamp'))",
    "concat('at ', {T})", "format_string('%s', {T})", "cast(array({T}) AS string)", "cast(struct({T}, {D}) AS string)",
    "cast(map({D}, {T}) AS string)", "concat_ws('|', array({T}, {T2}))", "array_join(array({T}), ',')", "cast(array({S}) AS array<timestamp>)[0] = {T}",
    "cast(named_struct('a', {T}) AS struct<b: date>).b", "transform(array({T}), x -> hour(x))", "length({T})", "upper({T})",
    "sequence({T}, {T} + INTERVAL '3' DAY, INTERVAL '1' DAY)", "sequence({T}, {T} + INTERVAL '3' HOUR, INTERVAL '1' HOUR)",
    "sequence({T}, {T} + INTERVAL '2' MONTH, INTERVAL '1' MONTH)", "sequence({D}, {D} + INTERVAL '3' DAY)",
    "sequence({D}, {D} + INTERVAL '3' MONTH, INTERVAL '1' MONTH)",
    "unix_micros(time_bucket(INTERVAL '1' DAY, {T}))", "unix_micros(time_bucket(INTERVAL '1' MONTH, {T}))", "unix_micros(time_bucket(INTERVAL '90' MINUTE, {T}))",
    "hash({T})", "{T} IN ({S}, {T2})", "CASE WHEN {T} > {D} THEN 'after' ELSE 'before' END", "nullif({T}, {N})", "typeof({T} + {V})",
    "try_add({T}, {V})", "unix_micros(nvl({T}, {D}))", "to_char({T}, '{F}')", "to_varchar({D}, '{F}')", "schema_of_json('{{\"a\": \"2026-01-01\"}}')",
    "array_sort(array({T}, {T2}))", "unix_micros(array_max(array({T}, {D})))", "array_contains(array({T}), {S})", "date({T})", "timestamp({S})", "date({S})",
    "unix_micros(timestamp({D}))", "localtimestamp() < TIMESTAMP_NTZ '2020-01-01 00:00:00'", "try_to_date({S})", "to_timestamp({S}) = {N}",
]  # fmt: skip
COLUMNS = {"T": ["t1", "t2"], "N": ["n1"], "D": ["d1"], "S": ["s1"], "L": ["l1"], "I": ["i1"]}


def micros(text):
    """Microseconds since 1970 of a time in UTC; years from 1 to 9999."""
    from datetime import datetime, timedelta

    return (datetime.fromisoformat(text) - datetime(1970, 1, 1)) // timedelta(microseconds=1)


def shifted(text, by):
    """A time as text, moved by minutes; within the years 1 to 9999."""
    from datetime import datetime, timedelta

    try:
        return str(datetime.fromisoformat(text) + timedelta(minutes=by))
    except OverflowError:
        return text.replace("T", " ")


def instant(rng, zone):
    """Microseconds near a change of the offset, or an old time."""
    if rng.random() < 0.3:
        return micros(rng.choice(OLD))
    moved = rng.choice([0, -1, 1, -60, 60, -1800, 1800, -3599, 3599, 3600, -3600, 5400, 7200, -86400, 86400, 40000, -40000])
    return micros(rng.choice(ZONES[zone])) + moved * 1_000_000 + rng.choice([0, 0, 0, 500_000, -1])


def local(rng, zone):
    """A wall-clock time near a change of the offset, as text."""
    if rng.random() < 0.25:
        return rng.choice(OLD).replace("T", " ")
    hours = {"America/New_York": -5, "Asia/Kolkata": 5, "Europe/Berlin": 1, "Pacific/Apia": -11, "Australia/Lord_Howe": 10, "America/Sao_Paulo": -3, "+02:00": 2}[zone]  # fmt: skip
    return shifted(rng.choice(ZONES[zone]), hours * 60 + rng.choice([0, 15, 30, 31, 45, 60, 61, 90, 119, 120, -1, -30, -60, -90, 720, 1440, -720]))


def table(rng, zone):
    """A query over constants that mean the same in every zone."""
    rows = []
    for number in range(ROWS):
        seconds = instant(rng, zone) // 1_000_000
        suffix = rng.choice(["", "", "", ".25", ".000001"])
        at = local(rng, zone)
        row = {
            "n": str(number),
            "t1": f"timestamp_micros({instant(rng, zone)})",
            "t2": f"timestamp_micros({instant(rng, zone)})" if rng.random() > 0.1 else "cast(NULL AS timestamp)",
            "n1": f"TIMESTAMP_NTZ '{local(rng, zone)}{rng.choice(['', '.5'])}'",
            "d1": f"DATE '{local(rng, zone)[:10]}'",
            "s1": "'" + rng.choice([at, at, at, at[:16], at[:10], at + suffix if "." not in at else at, at[:19] + "+01:00", at[:19] + " Europe/Rome"]) + "'",
            "l1": str(seconds) + "L",
            "i1": str(rng.choice([-25, -13, -1, 0, 1, 2, 6, 23, 24, 25, 48])),
        }  # fmt: skip
        rows.append("SELECT " + ", ".join(f"{value} AS {name}" for name, value in row.items()))
    return " UNION ALL ".join(rows)


def fill(rng, zone, text):
    """A template with columns and constants."""
    first = rng.choice(COLUMNS["T"])
    other = "t2" if first == "t1" else "t1"
    literal = rng.choice([f"TIMESTAMP '{local(rng, zone)}'", f"TIMESTAMP_LTZ '{local(rng, zone)}'", f"TIMESTAMP '{local(rng, zone)[:10]}'"])
    marks = {
        "T": first, "T2": other, "N": "n1", "N2": f"TIMESTAMP_NTZ '{local(rng, zone)}'", "D": "d1", "D2": f"DATE '{local(rng, zone)[:10]}'",
        "S": "s1", "L": "l1", "I": "i1", "I2": "abs(i1) % 24", "U": rng.choice(PARTS), "U2": rng.choice(PARTS), "F": rng.choice(FORMATS).replace("'", "\\'"),
        "P": rng.choice(PARSED), "V": rng.choice(INTERVALS), "X": literal,
    }  # fmt: skip
    return text.format(**marks)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--to", default=HERE + "/drawn/zones.jsonl.gz")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    spark = spark_session.start()
    kept, refused = 0, {}
    with gzip.GzipFile(arguments.to, "wb", mtime=0) as out:

        def write(entry):
            out.write((json.dumps(entry, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass"))

        write({"spark": spark_session.SPARK_VERSION, "seed": arguments.seed})
        for index, zone in enumerate(ZONES):
            spark.conf.set("spark.sql.session.timeZone", zone)
            query = table(rng, zone)
            world, cases = World(spark, query), []
            write({"world": index, "table": query, "zone": zone})
            for template in TEMPLATES:
                expression = fill(rng, zone, template)
                kind = world.plan(expression)
                if kind is None:
                    refused[template] = refused.get(template, 0) + 1
                    continue
                cases.append({"w": index, "q": expression, "f": template, "t": kind})
            for start in range(0, len(cases), typed.GROUP):
                world.answer(cases[start : start + typed.GROUP])
            for case in cases:
                write(case)
                kept += 1
            print(f"{zone}: {kept} cases", flush=True)
            spark.catalog.clearCache()
    for template, count in sorted(refused.items(), key=lambda pair: -pair[1]):
        print(f"refused {count} times: {template}")
    spark.stop()


if __name__ == "__main__":
    main()
