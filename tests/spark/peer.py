#!/usr/bin/env python3
"""The treasury sums on PySpark Structured Streaming, to be run beside `tidegate run` on the same file.

    venv/bin/python tests/spark/peer.py --generate lines.json --records 1000000    writes the input and stops
    venv/bin/python tests/spark/peer.py --input lines.json --output rows.json      runs; prints one line of JSON

Sums and counts per branch, currency and window of 2 seconds, watermark 5 seconds, append mode. Reports records a second
with and without the start of the JVM and the session, and the peak memory of the Python and the Java process.
"""

import argparse
import glob
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

SCENARIOS = {
    "treasury": (
        "branch string, currency string, amount decimal(12,2), ts timestamp",
        "SELECT window.start AS window_start, branch, currency, sum(amount) AS total, count(*) AS n "
        "FROM t GROUP BY window(ts, '2 seconds'), branch, currency",
    ),
    # The columns and the query of tests/bench/wide.yaml. Spark reads only the columns that the query needs.
    "wide": (
        "id bigint, ts timestamp, customer string, country string, score double, price decimal(12,2), quantity int, "
        "active boolean, tags array<string>, address struct<city:string,zip:string,geo:struct<lat:double,lon:double>>, "
        "attributes map<string,int>, note string, day date, device string, version int, referrer string, "
        "duration double, campaign string, retries int, session string",
        "SELECT window.start AS window_start, country, device, address.city AS city, sum(price) AS total, "
        "sum(quantity) AS pieces, count(*) AS n FROM t GROUP BY window(ts, '2 seconds'), country, device, address.city",
    ),
}
BASE = 1767268800  # 2026-01-01 12:00:00 UTC
RATE = 1000  # records a second of event time
LINE_BYTES = 85


def generate(path, records, branches, seed=1):
    """Writes lines of 85 bytes (newline included): `branches` x 4 currencies, event times up to 1 s out of order."""
    rng = random.Random(seed)
    with open(path, "w", encoding="ascii") as out:
        for i in range(records):
            millis = i * 1000 // RATE - rng.randrange(1000)
            second, milli = divmod(BASE * 1000 + millis, 1000)
            clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            cents = rng.randint(-10000, 10000)
            amount = f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02}"
            currency = ("RUB", "USD", "EUR", "GBP")[rng.randrange(4)]
            line = f'{{"branch":"b{rng.randrange(branches):02}","currency":"{currency}","amount":{amount},"ts":"{clock}.{milli:03}Z"'
            out.write(line + "}".rjust(LINE_BYTES - 1 - len(line)) + "\n")


def peak_kb(pid):
    """Peak resident memory of a process in KB, 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("VmHWM")), 0)
    except OSError:
        return 0


def descendants(pid):
    """The processes below a process: PySpark's Java process is one of them."""
    found = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children = {}
    for row in found.splitlines():
        child, parent = map(int, row.split())
        children.setdefault(parent, []).append(child)
    todo, result = [pid], []
    while todo:
        below = children.get(todo.pop(), [])
        result += below
        todo += below
    return result


def session(cores):
    from pyspark.sql import SparkSession

    spark = (
        SparkSession.builder.master(f"local[{cores}]")
        .appName("peer")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", str(cores))
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.driver.extraJavaOptions", "-Duser.timezone=UTC")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("OFF")
    return spark


def run(spark, arguments, scratch):
    """Runs the query to the end of the input; returns the rows written."""
    files = scratch + "/in"
    os.makedirs(files)
    split(arguments.input, files, arguments.batch_size)
    columns, query = SCENARIOS[arguments.scenario]
    source = spark.readStream.schema(columns).option("maxFilesPerTrigger", 1).json(files)
    source.withWatermark("ts", "5 seconds").createOrReplaceTempView("t")
    sums = spark.sql(query)
    target = scratch + "/out"
    writer = sums.writeStream.outputMode("append").option("checkpointLocation", scratch + "/checkpoint")
    if arguments.output:
        writer = writer.format("json").option("path", target)
    else:
        writer = writer.format("noop")
    began = time.time()
    writer.trigger(availableNow=True).start().awaitTermination()
    seconds = time.time() - began
    rows = 0
    if arguments.output:
        with open(arguments.output, "wb") as out:
            for part in sorted(glob.glob(target + "/part-*")):
                with open(part, "rb") as data:
                    content = data.read()
                rows += content.count(b"\n")
                out.write(content)
    return seconds, rows


def split(path, folder, batch_size):
    """One file per micro-batch, named so that Spark takes them in order; the time for it is not counted."""
    with open(path, "rb") as data:
        number, part = 0, []
        for line in data:
            part.append(line)
            if len(part) == batch_size:
                flush(folder, number, part)
                number, part = number + 1, []
        if part:
            flush(folder, number, part)


def flush(folder, number, part):
    name = f"{folder}/{number:06}.json"
    with open(name, "wb") as out:
        out.writelines(part)
    os.utime(name, (BASE + number, BASE + number))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", help="file of JSON lines; without it one is generated")
    parser.add_argument("--output", help="file for the rows; without it they are dropped")
    parser.add_argument("--generate", metavar="FILE", help="only write the input")
    parser.add_argument("--scenario", choices=SCENARIOS, default="treasury")
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--branches", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=250_000, help="records per micro-batch")
    parser.add_argument("--cores", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.generate:
        generate(arguments.generate, arguments.records, arguments.branches)
        return
    scratch = tempfile.mkdtemp(prefix="peer-")
    try:
        if not arguments.input:
            arguments.input = scratch + "/lines.json"
            generate(arguments.input, arguments.records, arguments.branches)
        with open(arguments.input, "rb") as data:
            records = sum(1 for _ in data)
        began = time.time()
        spark = session(arguments.cores)
        startup = time.time() - began
        seconds, rows = run(spark, arguments, scratch)
        memory = peak_kb(os.getpid()) + sum(peak_kb(pid) for pid in descendants(os.getpid()))
        report = {"peer": f"pyspark {spark.version}", "cores": arguments.cores, "records": records, "bytes": os.path.getsize(arguments.input),
                  "rows": rows, "start_seconds": round(startup, 2), "run_seconds": round(seconds, 2), "records_per_second": round(records / seconds),
                  "records_per_second_with_start": round(records / (seconds + startup)), "peak_mb": round(memory / 1024)}  # fmt: skip
        print(json.dumps(report))
        spark.stop()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
