"""One Spark session, and the three ways of asking it: a batch, a stream, a single row that raises."""

import itertools
import json
import logging
import os
import re
import shutil

from pyspark.sql import DataFrame, SparkSession

SPARK_VERSION = "4.3.0"
SCRATCH = os.environ.get("SPARK_RECORD_SCRATCH", "/dev/shm/spark-record")
CORRUPT = "_corrupt_record"
FILES = itertools.count()
TO_JSON = "to_json(struct(*), map('ignoreNullFields', 'false')) AS row_as_json"
# Far beyond every drawn event time: as a last batch it closes all windows but its own.
SENTINEL = "2100-01-01T00:00:00Z"
# Spark moves a filter below the watermark with these two rules, so that dropped rows would not move it.
EXCLUDED_RULES = ",".join(
    "org.apache.spark.sql.catalyst.optimizer." + rule
    for rule in ("PushDownPredicates", "PushPredicateThroughNonJoin")
)


def start():
    """Starts the session: one core, one shuffle partition, UTC, everything else as Spark ships it."""
    logging.getLogger("SQLQueryContextLogger").disabled = True
    shutil.rmtree(SCRATCH, ignore_errors=True)
    os.makedirs(SCRATCH)
    spark = (
        SparkSession.builder.master("local[1]")
        .appName("record")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.optimizer.excludedRules", EXCLUDED_RULES)
        .config("spark.driver.extraJavaOptions", "-Duser.timezone=UTC -XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        .config("spark.driver.memory", "2g")
        .config("spark.sql.streaming.noDataProgressEventInterval", "1h")
        .config("spark.sql.warehouse.dir", SCRATCH + "/warehouse")
        .config("spark.local.dir", SCRATCH)
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("OFF")
    if spark.version != SPARK_VERSION:
        raise SystemExit(f"recordings are made with Spark {SPARK_VERSION}, this is {spark.version}")
    return spark


def schema_of(df):
    """The columns of a result: name and Spark's simple type string, in order."""
    return [[f.name, f.dataType.simpleString()] for f in df.schema.fields]


def read_lines(spark, lines, ddl):
    """Lets Spark's JSON reader decode the lines; the last column holds the text of a line that does not fit.

    Through a file, as the streaming source does: only from bytes does Spark keep numbers and objects in string
    columns as they were written. The rows are detached from the file, so that a query that needs few columns does
    not make the reader skip the others and miss what does not fit.
    """
    path = f"{SCRATCH}/lines-{next(FILES)}.json"
    with open(path, "w", encoding="utf-8", newline="") as out:
        out.write("".join(line + "\n" for line in lines))
    reader = spark.read.schema(f"{ddl}, {CORRUPT} string").option("columnNameOfCorruptRecord", CORRUPT)
    rows = reader.json(path)._jdf
    detached = spark._jsparkSession.internalCreateDataFrame(rows.queryExecution().toRdd(), rows.schema(), False)
    return DataFrame(detached, spark)


def rejected_lines(spark, batches, ddl):
    """Per batch the indexes of the lines that do not fit the columns."""
    flat = [line for batch in batches for line in batch]
    corrupt = {r[0] for r in read_lines(spark, flat, ddl).select(CORRUPT).collect() if r[0] is not None}
    return [[i for i, line in enumerate(batch) if line in corrupt] for batch in batches]


def good_lines(batch, rejected):
    """The lines of a batch without the rejected ones."""
    return [line for i, line in enumerate(batch) if i not in set(rejected)]


def run_batches(spark, case):
    """Answers the query over each batch alone. Returns (expect, schema)."""
    expect, schema = [], None
    for batch, rejected in zip(case["batches"], case["rejected"]):
        lines = good_lines(batch, rejected)
        read_lines(spark, lines, case["columns"]).drop(CORRUPT).createOrReplaceTempView("t")
        df = spark.sql(case["query"])
        schema = schema_of(df)
        if case.get("ignore"):
            df = df.drop(*case["ignore"])
        rows = [r[0] for r in df.selectExpr(TO_JSON).collect()]
        expect.append({"rows": rows, "watermark_after": None, "late": 0})
    return expect, schema


class Stream:
    """One streaming query in append mode, fed one file per micro-batch, idle between two of them."""

    def __init__(self, spark, case):
        self.spark, self.case = spark, case
        self.folder = SCRATCH + "/stream"
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder + "/in")
        source = spark.readStream.schema(case["columns"]).json(self.folder + "/in")
        mark = case["watermark"]
        source.withWatermark(mark["column"], mark["delay"]).createOrReplaceTempView("t")
        df = spark.sql(case["query"])
        self.schema = schema_of(df)
        writer = df.selectExpr(TO_JSON).writeStream.format("memory").queryName("answers")
        writer = writer.option("checkpointLocation", self.folder + "/checkpoint").outputMode("append")
        self.query = writer.start()
        self.seen, self.fed = 0, 0
        self.dropped, self.reported = {}, 0
        self.watermark = None

    def feed(self, lines):
        """Runs one micro-batch and the batch without data behind it. Returns (rows, dropped groups)."""
        part = f"{self.folder}/part"
        with open(part, "w", encoding="utf-8") as out:
            out.write("".join(line + "\n" for line in lines))
        os.rename(part, f"{self.folder}/in/{self.fed:05}.json")
        self.fed += 1
        self.query.processAllAvailable()
        rows = [r[0] for r in self.spark.table("answers").collect()]
        fresh, self.seen = rows[self.seen :], len(rows)
        return fresh, self._progress()

    def _progress(self):
        """Takes the watermark from the newest progress; returns the groups dropped since the last call."""
        for progress in self.query.recentProgress:
            progress = json.loads(progress.json)
            mark = progress.get("eventTime", {}).get("watermark")
            if mark is None:  # a report of idleness, not of a batch
                continue
            dropped = sum(op["numRowsDroppedByWatermark"] for op in progress["stateOperators"])
            batch = progress["batchId"]
            self.dropped[batch] = max(dropped, self.dropped.get(batch, 0))
            self.watermark = None if mark.startswith("1970-01-01T00:00:00.000") else mark
        total = sum(self.dropped.values())
        fresh, self.reported = total - self.reported, total
        return fresh

    def stop(self):
        self.query.stop()
        self.spark.catalog.dropTempView("answers")


def late_rows(spark, case, lines, watermark):
    """Rows of a batch that pass the filter and whose window ended at or before the watermark: (rows, groups).

    Spark's own count is of groups, because it drops late rows after it has aggregated them within the batch.
    """
    if watermark is None or not lines:
        return 0, 0
    read_lines(spark, lines, case["columns"]).drop(CORRUPT).createOrReplaceTempView("t")
    parts = case["parts"]
    keys = ", ".join(["w"] + [f"k{i}" for i in range(len(parts["keys"]))])
    named = "".join(f", {key} AS k{i}" for i, key in enumerate(parts["keys"]))
    where = f"WHERE {parts['where']}" if parts["where"] else ""
    inner = f"SELECT {parts['window']} AS w{named} FROM t {where}"
    late = f"SELECT * FROM ({inner}) WHERE w.end <= timestamp '{watermark}'"
    sql = f"SELECT coalesce(sum(n), 0), count(*) FROM (SELECT count(*) AS n FROM ({late}) GROUP BY {keys})"
    return tuple(spark.sql(sql).collect()[0])


def run_stream(spark, case):
    """Answers a windowed query micro-batch by micro-batch. Returns (expect, schema, drain)."""
    stream = Stream(spark, case)
    expect, found = [], []
    try:
        for batch, rejected in zip(case["batches"], case["rejected"]):
            found.append((good_lines(batch, rejected), stream.watermark))
            rows, dropped = stream.feed(found[-1][0])
            expect.append({"rows": rows, "watermark_after": stream.watermark, "late": dropped})
        drain = None
        if case["drained"]:
            drain, _ = stream.feed([json.dumps({case["watermark"]["column"]: SENTINEL})])
    finally:
        stream.stop()
    for entry, (lines, watermark) in zip(expect, found):
        rows, groups = late_rows(spark, case, lines, watermark)
        if groups != entry["late"]:
            raise AssertionError(f"{case['name']}: {groups} late groups by the rule, Spark dropped {entry['late']}")
        entry["late"] = rows
    return expect, stream.schema, drain


def error_class(error):
    """Spark's name of an error, such as DIVIDE_BY_ZERO."""
    condition = getattr(error, "getCondition", lambda: None)()
    named = re.search(r"\[([A-Z_]+(\.[A-Z_]+)?)\]", str(error))
    return condition or (named.group(1) if named else type(error).__name__)
