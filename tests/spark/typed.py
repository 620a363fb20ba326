#!/usr/bin/env python3
"""Records Spark's answers to expressions drawn from the grammar of `grammar.py`, over tables with nulls and extremes.

    venv/bin/python tests/spark/typed.py                              rewrites drawn/typed.jsonl.gz, about 20 minutes
    venv/bin/python tests/spark/typed.py --seed 7 --count 500 --to /tmp/other.jsonl.gz    other ones, for a wider comparison

Line by line JSON: `{"spark", "seed"}` first, then for each world `{"world", "columns", "table"}` (a query that gives its
rows), then its cases `{"w", "q", "f", "t", "v"}`: world, expression, template, type, and the value for each row as text (see
`cell` of examples.py). A row that raises has `{"!": error class}`. What Spark refuses to plan is drawn again.
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
from grammar import COLUMNS, NUMBERS, ORDERED, ANY, TYPES, VALUES
from spark_session import error_class

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS = 10
CASES_PER_WORLD = 260
GROUP = 6
# Characters of the answers to one expression that are kept at most.
LONGEST = 20_000


def literal(kind, value):
    """A value of VALUES as SQL."""
    if kind == "S":
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    prefix = {"DT": "DATE", "TS": "TIMESTAMP", "NTZ": "TIMESTAMP_NTZ"}.get(kind)
    if prefix:
        return f"{prefix} '{value}'" if ":60" not in value else "TIMESTAMP '2026-12-31 23:59:59.5'"
    if kind == "YM":
        return f"INTERVAL '{value}' YEAR TO MONTH"
    if kind == "DS":
        return f"INTERVAL '{value}' DAY TO SECOND"
    if kind in ("AI", "AS", "MP", "ST", "M", "W"):
        return f"cast({value} AS {TYPES[kind]})"
    return value


def pool(kind):
    return VALUES["TS" if kind == "NTZ" else kind]


def table(rng):
    """A query over constants: `n` numbers the rows, then two columns of every type, a sixth of the values null."""
    names = ["n"] + [name for kind in TYPES for name in COLUMNS[kind]]
    rows = []
    for number in range(ROWS):
        row = [str(number)]
        for kind in TYPES:
            for _ in COLUMNS[kind]:
                null = rng.random() < 0.16
                row.append(f"cast(NULL AS {TYPES[kind]})" if null else literal(kind, rng.choice(pool(kind))))
        rows.append("SELECT " + ", ".join(f"{value} AS {name}" for value, name in zip(row, names)))
    return " UNION ALL ".join(rows)


class Draw:
    """Expressions by type."""

    def __init__(self, rng):
        self.rng = rng
        self.templates = grammar.templates()
        self.by_type = {}
        for kind, text in self.templates:
            self.by_type.setdefault(kind, []).append(text)

    def leaf(self, kind):
        if self.rng.random() < 0.8:
            return self.rng.choice(COLUMNS[kind])
        if self.rng.random() < 0.1:
            return f"cast(NULL AS {TYPES[kind]})"
        text = literal(kind, self.rng.choice(pool(kind)))
        return f"({text})" if text.startswith("-") else text

    def of(self, kind, depth):
        if depth == 0 or self.rng.random() < 0.65:
            return self.leaf(kind)
        inner = self.fill(self.rng.choice(self.by_type[kind]), depth - 1)
        return f"({inner})" if not re.fullmatch(r"\w+\(.*\)|\w+", inner) else inner

    def fill(self, text, depth):
        rng = self.rng
        bound = {"T": rng.choice(ANY), "T2": rng.choice(ANY), "Q": rng.choice(ORDERED)}

        def value(match):
            mark = match[1]
            if mark in bound:
                return self.of(bound[mark], depth)
            if mark == "N":
                return self.of(rng.choice(NUMBERS), depth)
            if mark == "N2":
                return self.of(rng.choice(["TI", "SI", "I", "L", "B"]), depth)
            if mark == "N3":
                return self.of(rng.choice(["TI", "I", "L", "M", "W"]), depth)
            small = {"K": grammar.SMALL, "K2": ["0", "1", "2", "3", "12"], "M2": ["0", "1.5", "59.999999", "12.345678", "60"],
                     "U": grammar.UNITS, "Z": grammar.ZONES, "FMT": grammar.FORMATS, "P": grammar.PATTERNS}  # fmt: skip
            if mark in small:
                return rng.choice(small[mark])
            return self.of(mark, depth)

        return re.sub(r"\{(\w+)\}", value, text)

    def case(self, number):
        """Every template in turn, then at random."""
        kind, text = self.templates[number % len(self.templates)]
        return text, self.fill(text, self.rng.choice([0, 1, 1, 2]))


class World:
    """A table, and Spark's answers over it."""

    def __init__(self, spark, query):
        self.spark = spark
        rows = spark.sql(query)._jdf
        # Detached from its constants, so that nothing is computed while planning.
        jdf = spark._jsparkSession.internalCreateDataFrame(rows.queryExecution().toRdd(), rows.schema(), False)
        df = spark_session.DataFrame(jdf, spark).cache()
        df.count()
        df.createOrReplaceTempView("t")

    def plan(self, expression):
        """The type of an expression; None where Spark refuses it."""
        try:
            return self.spark.sql(f"SELECT {expression} AS c FROM t").schema.fields[0].dataType.simpleString()
        except Exception:  # every refusal is one
            return None

    def ask(self, group, where=""):
        inner = ", ".join(f"{case['q']} AS c{i}" for i, case in enumerate(group))
        cells = ", ".join(f"{cell(f'c{i}', case['t'])} AS c{i}" for i, case in enumerate(group))
        found = self.spark.sql(f"SELECT {cells} FROM (SELECT n, {inner} FROM t {where}) ORDER BY n").collect()
        return [[row[i] for row in found] for i in range(len(group))]

    def row(self, case, number):
        try:
            return self.ask([case], f"WHERE n = {number}")[0][0]
        except Exception as error:  # every class of error is an answer here
            return {"!": error_class(error)}

    def answer(self, group):
        """Puts the values into the cases of a group; one by one, then row by row where something raises."""
        try:
            answers = self.ask(group)
        except Exception:
            if len(group) > 1:
                for case in group:
                    self.answer([case])
                return
            answers = [[self.row(group[0], number) for number in range(ROWS)]]
        for case, values in zip(group, answers):
            case["v"] = values


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--count", type=int, default=5200)
    parser.add_argument("--to", default=HERE + "/drawn/typed.jsonl.gz")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    spark = spark_session.start()
    draw, number, kept, refused = Draw(rng), 0, 0, {}
    with gzip.GzipFile(arguments.to, "wb", mtime=0) as out:

        def write(entry):
            out.write((json.dumps(entry, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass"))

        write({"spark": spark_session.SPARK_VERSION, "seed": arguments.seed})
        for index in range(-(-arguments.count // CASES_PER_WORLD)):
            query = table(rng)
            world, cases = World(spark, query), []
            write({"world": index, "table": query})
            while len(cases) < CASES_PER_WORLD:
                template, expression = draw.case(number)
                number += 1
                kind = world.plan(expression)
                if kind is None:
                    refused[template] = refused.get(template, 0) + 1
                    continue
                cases.append({"w": index, "q": expression, "f": template, "t": kind})
            for start in range(0, len(cases), GROUP):
                world.answer(cases[start : start + GROUP])
            for case in cases:
                if len(str(case["v"])) <= LONGEST:
                    write(case)
                    kept += 1
            print(f"world {index}: {kept} cases, {number} drawn", flush=True)
            spark.catalog.clearCache()
    for template, count in sorted(refused.items(), key=lambda pair: -pair[1]):
        print(f"refused {count} times: {template}")
    spark.stop()


if __name__ == "__main__":
    main()
