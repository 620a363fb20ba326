#!/usr/bin/env python3
"""Records what Spark answers to the examples in its own function documentation (`DESCRIBE FUNCTION EXTENDED`).

    venv/bin/python tests/spark/examples.py                  rewrites documented/examples.json and documented/functions.json
    venv/bin/python tests/spark/examples.py --to /tmp/fresh  the same into another folder

`examples.json`: every example with its group, the topic it is set aside for (or null), the columns and the rows.
`functions.json`: every built-in function with its group and the first line of its documentation.
The Rust test `documented_examples` replays them; with `--nocapture` it prints the table by group.
"""

import argparse
import json
import os
import re

import spark_session
from spark_session import error_class, schema_of

HERE = os.path.dirname(os.path.abspath(__file__))
# Topics that are no part of the dialect for now, by group of the documentation and by name.
ASIDE_GROUPS = {
    "xml_funcs": "xml",
    "variant_funcs": "variant",
    "st_funcs": "geospatial",
    "sketch_funcs": "sketches",
    "avro_funcs": "avro",
    "protobuf_funcs": "protobuf",
}
ASIDE_NAMES = {
    "randomness": "rand random randn randstr uniform uuid shuffle uuid7 sample",
    "session": "current_user session_user user current_catalog current_database current_schema version spark_partition_id "
    "input_file_name input_file_block_start input_file_block_length monotonically_increasing_id now localtimestamp "
    "current_date curdate current_time current_timestamp java_method reflect try_reflect current_path sql_keywords "
    "localtime python_worker_logs",
    "sketches": "approx_count_distinct_estimate approx_top_k approx_top_k_accumulate approx_top_k_combine "
    "approx_top_k_estimate count_min_sketch histogram_numeric",
    "variant": "schema_of_variant schema_of_variant_agg",
}
# Single examples whose answer is drawn anew or is the time of the run.
ASIDE_EXAMPLES = {"aes_encrypt-1": "randomness", "aes_encrypt-2": "randomness", "aes_encrypt-4": "randomness", "unix_timestamp-1": "session"}
ASIDE = {name: topic for topic, names in ASIDE_NAMES.items() for name in names.split()}
ASIDE_PREFIX = {"hll_": "sketches", "kll_": "sketches", "theta_": "sketches", "tuple_": "sketches", "st_": "geospatial"}
# Words in the query of another function that make its answer a session's or a random one.
ASIDE_WORDS = re.compile(r"\b(parse_json|to_variant_object|current_date|now|current_time|rand|randn|uuid|schema_of_variant)\(", re.I)


def aside(example, name, group, query):
    """The topic that an example is set aside for; None for the others."""
    if example in ASIDE_EXAMPLES:
        return ASIDE_EXAMPLES[example]
    if name in ASIDE:
        return ASIDE[name]
    if group in ASIDE_GROUPS:
        return ASIDE_GROUPS[group]
    for prefix, topic in ASIDE_PREFIX.items():
        if name.startswith(prefix):
            return topic
    word = ASIDE_WORDS.search(query)
    if word:
        return "variant" if "json" in word[1].lower() or "variant" in word[1].lower() else "session"
    return None


def queries_of(text):
    """The queries of an `Examples:` section: each begins with `> ` and ends with a semicolon."""
    found, open_query = [], None
    for line in (text or "").splitlines():
        line = line.strip()
        if line.startswith("> "):
            open_query = [line[2:]]
        elif open_query is not None:
            open_query.append(line)
        else:
            continue
        if line.endswith(";"):
            found.append("\n".join(open_query)[:-1])
            open_query = None
    return found


def infos(spark):
    """What Spark knows of its built-in functions: name, group, usage, examples."""
    listed = spark._jvm.org.apache.spark.sql.api.python.PythonSQLUtils.listBuiltinFunctionInfos()
    found = [(i.getName(), i.getGroup(), i.getUsage(), i.getExamples(), i.getSince()) for i in listed]
    return sorted(found)


def cell(name, kind):
    """A column as text: JSON of nested values, Base64 of bytes, a cast to string for the others."""
    if kind == "binary":
        return f"base64({name})"
    if kind.startswith(("array<", "map<", "struct<")) and "interval" not in kind:
        return f"to_json({name}, map('ignoreNullFields', 'false'))"
    return f"cast({name} AS string)"


def answer(spark, query):
    """Columns and rows of a query, or the class of its error."""
    try:
        df = spark.sql(query)
        columns = schema_of(df)
        names = [f"c{i}" for i in range(len(columns))]
        cells = [cell(name, kind) for name, (_, kind) in zip(names, columns)]
        rows = [list(row) for row in df.toDF(*names).selectExpr(*cells).collect()] if cells else []
        return {"schema": columns, "rows": rows}
    except Exception as error:  # every class of error is an answer here
        return {"error": error_class(error)}


def usage_line(usage, name):
    """The first line of the documentation with the function's name put in."""
    line = " ".join((usage or "").replace("_FUNC_", name).split("\n\n")[0].split())
    return line


def write(path, key, entries):
    with open(path, "w", encoding="utf-8") as out:
        head = {"spark": spark_session.SPARK_VERSION}
        out.write(json.dumps(head)[:-1] + f', "{key}": [\n')
        out.write(",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries))
        out.write("\n]}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", default=HERE + "/documented")
    arguments = parser.parse_args()
    spark = spark_session.start()
    functions, examples, raised = [], [], 0
    for name, group, usage, text, since in infos(spark):
        functions.append({"name": name, "group": group, "since": since, "usage": usage_line(usage, name)})
        # A session of its own: some examples set options, which hold until they are reset.
        session, changed = spark.newSession(), False
        for place, query in enumerate(queries_of((text or "").replace("_FUNC_", name))):
            setting = query.upper().startswith("SET ")
            example = f"{name}-{place + 1}"
            topic = "settings" if setting or changed else aside(example, name, group, query)
            if setting:
                changed = query.endswith("=true")
            case = {"name": example, "function": name, "group": group, "aside": topic, "query": query}
            found = answer(session, query)
            raised += "error" in found
            examples.append(case | found)
    os.makedirs(arguments.to, exist_ok=True)
    write(arguments.to + "/functions.json", "functions", functions)
    write(arguments.to + "/examples.json", "cases", examples)
    kept = [case for case in examples if "error" not in case]
    rest = [case for case in kept if case["aside"] is None]
    print(f"{len(functions)} functions, {len(examples)} examples, {len(kept)} answered, {raised} raise, {len(rest)} not set aside")
    spark.stop()


if __name__ == "__main__":
    main()
