#!/usr/bin/env python3
"""Records what Spark 4.3.0 answers, as JSON that the tests replay without Spark.

    python3 -m venv venv && venv/bin/pip install pyspark==4.3.0      (Java 17 is needed)
    venv/bin/python tests/spark/record.py                            rewrites tests/spark/cases/*.json
    venv/bin/python tests/spark/record.py --family windows           one family only
    venv/bin/python tests/spark/record.py --fresh 7 --count 400 --to FOLDER   new cases from another seed

The same seed and count give the same files. See README.md beside this script.
"""

import argparse
import json
import os
import random
import sys
import time

import aggregates
import json_columns
import raises
import sliding
import spark_session
import stateless
import windows

SEED = 20261121
# family -> (module, how many drawn cases the project keeps); a module may have fixed cases before them
FAMILIES = {
    "windows": (windows, 90),
    "sliding": (sliding, 60),
    "aggregates": (aggregates, 100),
    "stateless": (stateless, 300),
    "json": (json_columns, 30),
    "raises": (raises, 30),
}
MAX_ATTEMPTS = 20
KEPT = ("name", "topic", "columns", "watermark", "query", "scope", "mode", "approx", "ignore", "decided", "batches", "rejected", "expect", "drain",
        "schema", "raises")  # fmt: skip


class Redraw(Exception):
    """The drawn case cannot be recorded: Spark refuses or raises."""


def answer(spark, case):
    """Fills a drawn case with Spark's answers."""
    case["mode"] = "append"
    case["drain"] = None
    case["rejected"] = spark_session.rejected_lines(spark, case["batches"], case["columns"])
    for batch, rejected in zip(case["batches"], case["rejected"]):
        if case["watermark"] and len(batch) == len(rejected):
            raise Redraw("a batch without a record that fits")
    try:
        if case["watermark"]:
            case["expect"], case["schema"], case["drain"] = spark_session.run_stream(spark, case)
        else:
            case["expect"], case["schema"] = spark_session.run_batches(spark, case)
    except AssertionError:
        raise
    except Exception as error:  # Spark's errors have no common base class
        raise Redraw(f"{spark_session.error_class(error)}: {case['query']}") from error


def narrowed(spark, rng, case):
    """The case with only those items of its SELECT that Spark answers; None when there is none."""
    prefix, items, suffix = case["items"]
    if prefix is None:
        return None
    good = []
    for item in items:
        trial = case | {"query": prefix + item + suffix}
        try:
            spark_session.run_batches(spark, trial)
            good.append(item)
        except Exception as error:
            print(f"    dropped {item}: {spark_session.error_class(error)}", file=sys.stderr)
    return case | {"query": prefix + ", ".join(good) + suffix} if good else None


def record(spark, family, module, index, seed):
    """Draws until Spark answers; the random numbers depend on seed, family, index and attempt only."""
    for attempt in range(MAX_ATTEMPTS):
        rng = random.Random(f"{seed}/{family}/{index}/{attempt}")
        case = module.draw(rng, index)
        topic = f"-{case['topic']}" if "topic" in case else ""
        case["name"] = f"{family}{topic}-{index:03}"
        try:
            if hasattr(module, "answer"):
                module.answer(spark, case)
            else:
                answer(spark, case)
            return case
        except Redraw as why:
            print(f"  {case['name']} attempt {attempt}: {why}", file=sys.stderr)
            case = narrowed(spark, rng, case) if "items" in case else None
            if case is not None:
                answer(spark, case)
                return case
    raise SystemExit(f"{family} {index}: no answer in {MAX_ATTEMPTS} attempts")


def write(folder, family, seed, cases):
    """One file per family, one case per line, so that changes can be read."""
    os.makedirs(folder, exist_ok=True)
    head = json.dumps({"spark": spark_session.SPARK_VERSION, "family": family, "seed": seed})[:-1]
    lines = [json.dumps({k: c[k] for k in KEPT if k in c}, ensure_ascii=False, separators=(",", ":")) for c in cases]
    with open(f"{folder}/{family}.json", "w", encoding="utf-8") as out:
        out.write(head + ', "cases": [\n' + ",\n".join(lines) + "\n]}\n")


def counts(arguments):
    """How many cases of which family."""
    total = sum(drawn for _, drawn in FAMILIES.values())
    for family, (module, drawn) in FAMILIES.items():
        if arguments.family and family not in arguments.family:
            continue
        if arguments.count:
            drawn = max(1, round(arguments.count * drawn / total))
        yield family, module, getattr(module, "FIXED_COUNT", 0) + drawn


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fresh", type=int, metavar="SEED", help="draw from another seed; needs --to")
    parser.add_argument("--count", type=int, help="how many drawn cases in all, shared out over the families")
    parser.add_argument("--to", default=None, help="folder to write to (default: cases/ beside this script)")
    parser.add_argument("--family", action="append", choices=list(FAMILIES))
    arguments = parser.parse_args()
    if (arguments.fresh is not None or arguments.count) and not arguments.to:
        parser.error("--fresh and --count would overwrite the kept recordings: name a folder with --to")
    seed = SEED if arguments.fresh is None else arguments.fresh
    folder = arguments.to or f"{here}/cases"
    spark = spark_session.start()
    for family, module, count in counts(arguments):
        began, cases = time.time(), []
        for index in range(count):
            cases.append(record(spark, family, module, index, seed))
            if index % 10 == 9:
                print(f"{family}: {index + 1} of {count}, {time.time() - began:.0f} s", file=sys.stderr, flush=True)
        write(folder, family, seed, cases)
        print(f"{family}: {len(cases)} cases in {time.time() - began:.0f} s")
    spark.stop()


if __name__ == "__main__":
    main()
