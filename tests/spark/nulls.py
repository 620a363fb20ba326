#!/usr/bin/env python3
"""Records which arguments Spark looks at when one of them is NULL: the others raise.

    venv/bin/python tests/spark/nulls.py                              rewrites drawn/nulls.jsonl.gz, about 3 minutes

For each template of `grammar.py` one argument is NULL, those before it have a value, and those behind it raise; then the
first one raises and the second one is NULL. The format is that of `typed.py`, with one row.
"""

import argparse
import gzip
import json
import os
import re

import grammar
import spark_session
import typed
from grammar import COLUMNS, TYPES, VALUES

HERE = os.path.dirname(os.path.abspath(__file__))
BOUND = {"T": "I", "T2": "S", "Q": "I", "N": "I", "N2": "I", "N3": "I", "K": "I", "K2": "I", "M2": "M"}
CONSTANT = {"U": "'DAY'", "Z": "'UTC'", "FMT": "'yyyy-MM-dd'", "P": "'a'"}
# A value of each type that no function minds.
GIVEN = {
    "TI": "2Y", "SI": "2S", "I": "2", "L": "2L", "F": "1.5F", "D": "1.5D", "M": "1.50", "W": "1.5", "S": "'a'", "B": "true",
    "BIN": "X'61'", "AI": "array(1,2,3)", "AS": "array('a')", "MP": "map('a',1)", "ST": "named_struct('a',1,'b','x')",
}  # fmt: skip


def table():
    """One row: of each type a column that is NULL, and one that has a value."""
    cells = ["0 AS n"]
    for kind, names in COLUMNS.items():
        value = GIVEN.get(kind) or typed.literal(kind, VALUES["TS" if kind == "NTZ" else kind][2])
        cells.append(f"cast(NULL AS {TYPES[kind]}) AS {names[0]}")
        cells.append(f"cast({value} AS {TYPES[kind]}) AS {names[1]}")
    return "SELECT " + ", ".join(cells)


def null(kind):
    return COLUMNS[kind][0]


def given(kind):
    return COLUMNS[kind][1]


def raising(kind, at):
    """Another one in each place: Spark computes what stands in a query twice before all else."""
    return f"array({given(kind)})[n + {7 + at}]"


def expressions(template):
    """The template with NULL in each place, and with the first two places the other way round."""
    places = [mark for mark in re.findall(r"\{(\w+)\}", template) if mark not in CONSTANT]
    kinds = [BOUND.get(mark, mark) for mark in places]
    forms = [
        [given(kind) if i < at else null(kind) if i == at else raising(kind, i) for i, kind in enumerate(kinds)]
        for at in range(len(kinds) - 1)
    ]
    if len(kinds) > 1:
        forms.append([raising(kinds[0], 0), null(kinds[1])] + [given(kind) for kind in kinds[2:]])
    for form in forms:
        values = iter(form)
        yield re.sub(r"\{(\w+)\}", lambda match: CONSTANT.get(match[1]) or next(values), template)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", default=HERE + "/drawn/nulls.jsonl.gz")
    arguments = parser.parse_args()
    typed.ROWS = 1
    spark = spark_session.start()
    world, kept, refused = typed.World(spark, table()), 0, 0
    with gzip.GzipFile(arguments.to, "wb", mtime=0) as out:

        def write(entry):
            out.write((json.dumps(entry, ensure_ascii=False) + "\n").encode())

        write({"spark": spark_session.SPARK_VERSION})
        write({"world": 0, "table": table()})
        seen = set()
        for _, template in grammar.templates():
            for expression in expressions(template):
                kind = None if expression in seen else world.plan(expression)
                seen.add(expression)
                if kind is None:
                    refused += 1
                    continue
                case = {"w": 0, "q": expression, "f": template, "t": kind}
                world.answer([case])
                write(case)
                kept += 1
    print(f"{kept} cases, {refused} refused or drawn twice")
    spark.stop()


if __name__ == "__main__":
    main()
