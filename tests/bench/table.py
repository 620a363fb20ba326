#!/usr/bin/env python3
"""The lines of run.sh's table, and the hash of result rows that Tidegate and the peer must agree on."""

import hashlib
import json
import sys
from decimal import Decimal


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def row_hash(path):
    """How many rows there are, and the SHA-256 over them: keys sorted, nulls left out, instants without trailing zeros."""
    lines = []
    with open(path, encoding="utf-8") as rows:
        for line in rows:
            row = json.loads(line, parse_float=Decimal)
            row.pop("output", None)
            row["window_start"] = row["window_start"].removesuffix("Z").split(".")[0]
            lines.append(";".join(f"{key}={row[key]}" for key in sorted(row) if row[key] is not None))
    lines.sort()
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return len(lines), digest.hexdigest()[:16]


def tidegate_line(name, report, rows, mb):
    count, digest = row_hash(rows)
    records, seconds = report["counts"]["records"], report["seconds"]
    stages = report["stage_seconds"]
    shares = " ".join(f"{stage} {100 * spent / seconds:.0f} %" for stage, spent in stages.items())
    rest = 100 * (seconds - sum(stages.values())) / seconds
    speed = "" if mb is None else f", {mb / seconds:,.0f} MB/s"
    print(f"{name:9} tidegate {records:>10,} records  {records / seconds:>10,.0f}/s{speed}  cpu {report['cpu_seconds']:.2f} s  "
          f"peak {report['peak_mb']} MB  {shares} rest {rest:.0f} %  {count:,} rows, hash {digest}", flush=True)  # fmt: skip
    return digest


def run(name, report, rows, size):
    tidegate_line(name, load(report), rows, int(size) / 1e6)


def compare(name, report, rows, peer_report, peer_rows):
    report, peer = load(report), load(peer_report)
    ours = tidegate_line(name, report, rows, None)
    count, theirs = row_hash(peer_rows)
    print(f"{name:9} {peer['peer']} {peer['records']:>8,} records  {peer['records_per_second']:>10,}/s  (with start "
          f"{peer['records_per_second_with_start']:,}/s)  peak {peer['peak_mb']} MB  {count:,} rows, hash {theirs}")  # fmt: skip
    speed = report["counts"]["records"] / report["seconds"]
    print(f"{name:9} ratio: {speed / peer['records_per_second']:.1f} times the records a second, "
          f"{peer['peak_mb'] / report['peak_mb']:.0f} times less memory", flush=True)  # fmt: skip
    if ours != theirs:
        sys.exit(f"{name}: the rows differ: {ours} and {theirs}")


if __name__ == "__main__":
    {"run": run, "compare": compare}[sys.argv[1]](*sys.argv[2:])
