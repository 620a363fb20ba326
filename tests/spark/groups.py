#!/usr/bin/env python3
"""Records Spark's answers to aggregates over random groups, with nulls and extremes.

    venv/bin/python tests/spark/groups.py                       rewrites drawn/groups.jsonl.gz, about 10 minutes
    venv/bin/python tests/spark/groups.py --seed 7 --count 200 --to /tmp/other.jsonl.gz
    venv/bin/python tests/spark/groups.py --distinct --count 240 --to tests/spark/drawn/distinct.jsonl.gz    those with DISTINCT

Line by line JSON: `{"spark", "seed"}` first, then for each world `{"world", "table"}` (a query that gives its rows: `k` is
the key, `at` lies within one hour), then its cases `{"w", "q", "f", "key", "t", "v"}`: aggregate, template, whether it is
grouped by `k`, type, and `[key, value]` for each group, in the order of the keys. An aggregate that raises has
`"v": {"!": error class}`. The tests compare with the whole table, and with its rows cut into micro-batches of a stream.
"""

import argparse
import gzip
import json
import os
import random
import re

import grammar
import spark_session
from examples import cell
from grammar import TYPES
from spark_session import error_class
from typed import LONGEST, World, literal

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS = 24
CASES_PER_WORLD = 120
KEYS = ["'a'", "'b'", "'é'", "cast(NULL AS string)"]
# Doubles and floats are multiples of a quarter: their sums do not depend on the order.
VALUES = grammar.VALUES | {
    "F": ["0.0F", "0.25F", "-1.5F", "3.75F", "100.0F"],
    "D": ["0.0D", "0.25D", "-1.5D", "2.5D", "1000.75D", "-20.25D"],
    "W": ["0", "1.5", "-2.25", "12345678901234567890.1234567890", "100"],
    "YM": ["0-1", "1-2", "-1-2", "0-11"],
    "DS": ["0 00:00:01", "1 02:03:04.567891", "-1 02:03:04"],
}
WILD = {
    "F": ["cast('NaN' AS float)", "cast('Infinity' AS float)", "-0.0F"],
    "D": ["cast('NaN' AS double)", "cast('Infinity' AS double)", "cast('-Infinity' AS double)", "-0.0D"],
    "W": ["9999999999999999999999999999.9999999999"],
}
# Marks: {N} numbers, {Q} what has an order, {A} what has equality, {C} anything; other marks are types.
NUMBERS = ["TI", "SI", "I", "L", "F", "D", "M", "W"]
TAME = ["TI", "SI", "I", "F", "D", "M"]
TEMPLATES = """
count(*);; count({C});; count({C}, {C});; count(DISTINCT {A});; count(DISTINCT {A}, {A});; count_if({B});; count({C}) FILTER (WHERE {B})
sum({N});; sum({N});; sum(DISTINCT {I});; sum({N}) FILTER (WHERE {B});; try_sum({N});; sum({I} * {SI});; sum({YM});; sum({DS});; sum({M} * 2)
avg({N});; avg({T});; mean({N});; try_avg({T});; avg(DISTINCT {I});; avg({M});; avg({W});; avg({DS});; avg({YM});; try_avg({M})
min({Q});; max({Q});; min({Q});; max({Q});; min({D});; max({F});; max({ST});; min({AI});; max({S}) FILTER (WHERE {B});; min({YM});; max({DS})
first({C});; last({C});; first({C}, true);; last({C}) IGNORE NULLS;; any_value({C});; any_value({C}, true);; first_value({C});; last_value({C}, true)
bool_and({B});; bool_or({B});; every({B});; some({B});; any({B});; bit_and({X});; bit_or({X});; bit_xor({X});; count(1)
stddev({T});; stddev_samp({T});; stddev_pop({T});; std({T});; variance({T});; var_samp({T});; var_pop({T});; skewness({T});; kurtosis({T})
corr({T}, {T});; covar_pop({T}, {T});; covar_samp({T}, {T});; regr_count({T}, {T});; regr_avgx({T}, {T});; regr_avgy({T}, {T});; regr_r2({T}, {T})
regr_slope({T}, {T});; regr_intercept({T}, {T});; regr_sxx({T}, {T});; regr_sxy({T}, {T});; regr_syy({T}, {T})
collect_list({C});; array_agg({C});; sort_array(collect_set({A}));; size(collect_set({A}));; collect_list(struct({C} AS x, {C} AS y));; collect_list({C}) FILTER (WHERE {B})
max_by({C}, n);; min_by({C}, n);; max_by({C}, struct({Q}, n));; mode({A}, true);; median({T});; percentile({T}, 0.25);; percentile({T}, array(0.1, 0.9))
percentile({I}, 0.5, 2);; percentile_approx({T}, 0.5);; percentile_approx({I}, array(0.25, 0.75));; approx_percentile({D}, 0.9, 100)
percentile_cont(0.5) WITHIN GROUP (ORDER BY {T});; percentile_disc(0.3) WITHIN GROUP (ORDER BY {T});; percentile_cont(0.25) WITHIN GROUP (ORDER BY {T} DESC)
listagg({S}, ',');; string_agg({S}, '-');; listagg({S});; listagg({S}, ',') WITHIN GROUP (ORDER BY {S});; approx_count_distinct({A})
sum({I}) / count(*);; max({I}) - min({I});; coalesce(sum({M}), 0);; sum(CASE WHEN {B} THEN {M} ELSE 0 END);; max(length({S}));; round(avg({M}), 2)
max(struct({Q}, {Q}));; min(named_struct('a', {I}, 'b', {S}));; sum({I} + {TI});; count(DISTINCT {S}) + count({S});; bitmap_construct_agg(bitmap_bit_position({TI}))
"""

# Aggregates that see each value once.
DISTINCT = """
collect_list(DISTINCT {Q});; size(array_agg(DISTINCT {S}));; sort_array(collect_set(DISTINCT {I}));; count(DISTINCT {Q}) FILTER (WHERE {B});; count(DISTINCT {D});; count(DISTINCT {S}, {I})
sum(DISTINCT {M});; sum(DISTINCT {L});; sum(DISTINCT {D});; try_sum(DISTINCT {I});; try_sum(DISTINCT {L});; sum(DISTINCT {YM});; sum(DISTINCT {DS})
avg(DISTINCT {M});; avg(DISTINCT {D});; avg(DISTINCT {L});; try_avg(DISTINCT {SI});; mean(DISTINCT {I});; avg(DISTINCT {DS});; sum(DISTINCT {I}) FILTER (WHERE {B})
stddev(DISTINCT {T});; stddev_samp(DISTINCT {T});; stddev_pop(DISTINCT {T});; variance(DISTINCT {T});; var_samp(DISTINCT {T});; var_pop(DISTINCT {T});; skewness(DISTINCT {T});; kurtosis(DISTINCT {T})
corr(DISTINCT {T}, {T});; covar_pop(DISTINCT {I}, {SI});; covar_samp(DISTINCT {I}, {M});; regr_count(DISTINCT {T}, {T});; regr_avgx(DISTINCT {I}, {TI});; regr_avgy(DISTINCT {I}, {TI});; regr_r2(DISTINCT {TI}, {SI})
regr_slope(DISTINCT {TI}, {I});; regr_intercept(DISTINCT {TI}, {I});; regr_sxx(DISTINCT {TI}, {SI});; regr_sxy(DISTINCT {TI}, {I});; regr_syy(DISTINCT {I}, {TI})
median(DISTINCT {T});; percentile(DISTINCT {T}, 0.25);; percentile_approx(DISTINCT {I}, 0.5);; listagg(DISTINCT {S}, ',');; string_agg(DISTINCT {S}, '-') WITHIN GROUP (ORDER BY {S})
bit_xor(DISTINCT {X});; bit_and(DISTINCT {X});; max(DISTINCT {Q});; min(DISTINCT {Q});; count_if(DISTINCT {B});; bool_or(DISTINCT {B});; approx_count_distinct(DISTINCT {B});; max_by(DISTINCT {I}, n)
"""


def templates(text):
    return [part.strip() for line in text.strip().splitlines() for part in line.split(";;")]


def fill(rng, text):
    pools = {"N": NUMBERS, "T": TAME, "X": ["TI", "SI", "I", "L"], "Q": grammar.ORDERED, "A": grammar.ORDERED, "C": grammar.ANY + ["MP", "YM", "DS"]}

    def value(match):
        kind = rng.choice(pools.get(match[1], [match[1]]))
        return rng.choice(grammar.COLUMNS[kind])

    return re.sub(r"\{(\w+)\}", value, text)


def table(rng, wild):
    rows = []
    for number in range(ROWS):
        minute = rng.randrange(60)
        row = [f"{number} AS n", f"{rng.choice(KEYS)} AS k", f"TIMESTAMP '2026-01-01 10:{minute:02}:00' AS at"]
        for kind in TYPES:
            pool = VALUES[kind if kind != "NTZ" else "TS"] + (WILD.get(kind, []) if wild else [])
            for name in grammar.COLUMNS[kind]:
                null = rng.random() < 0.16
                row.append((f"cast(NULL AS {TYPES[kind]})" if null else literal(kind, rng.choice(pool))) + f" AS {name}")
        rows.append("SELECT " + ", ".join(row))
    return " UNION ALL ".join(rows)


def answer(spark, case):
    """Puts type and values into a case; False where Spark refuses to plan it."""
    key = "k" if case["key"] else "'all'"
    inner = f"SELECT {key} AS k, {case['q']} AS c FROM t" + (" GROUP BY k" if case["key"] else "")
    try:
        case["t"] = spark.sql(inner).schema.fields[1].dataType.simpleString()
    except Exception:  # every refusal is one
        return False
    try:
        found = spark.sql(f"SELECT k, {cell('c', case['t'])} AS c FROM ({inner}) ORDER BY k").collect()
        case["v"] = [[row[0], row[1]] for row in found]
    except Exception as error:  # every class of error is an answer here
        case["v"] = {"!": error_class(error)}
    return len(str(case["v"])) <= LONGEST


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--count", type=int, default=1200)
    parser.add_argument("--to", default=HERE + "/drawn/groups.jsonl.gz")
    parser.add_argument("--distinct", action="store_true")
    arguments = parser.parse_args()
    rng, spark = random.Random(arguments.seed), spark_session.start()
    number, kept, refused = 0, 0, {}
    all_templates = templates(DISTINCT if arguments.distinct else TEMPLATES)
    with gzip.GzipFile(arguments.to, "wb", mtime=0) as out:

        def write(entry):
            out.write((json.dumps(entry, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass"))

        write({"spark": spark_session.SPARK_VERSION, "seed": arguments.seed})
        for index in range(-(-arguments.count // CASES_PER_WORLD)):
            query = table(rng, index % 3 == 2)
            World(spark, query)
            write({"world": index, "table": query})
            cases = 0
            while cases < CASES_PER_WORLD:
                template = all_templates[number % len(all_templates)]
                number += 1
                case = {"w": index, "q": fill(rng, template), "f": template, "key": rng.random() < 0.8}
                if answer(spark, case):
                    write(case)
                    cases += 1
                else:
                    refused[template] = refused.get(template, 0) + 1
            kept += cases
            print(f"world {index}: {kept} cases, {number} drawn", flush=True)
            spark.catalog.clearCache()
    for template, count in sorted(refused.items(), key=lambda pair: -pair[1]):
        print(f"refused {count} times: {template}")
    spark.stop()


if __name__ == "__main__":
    main()
