#!/usr/bin/env bash
# Speed of `tidegate run` on one core, beside PySpark on the same machine and input.
#
#   cargo build --release -p tidegate-cli
#   python3 -m venv venv && venv/bin/pip install pyspark==4.3.0      # Java 17 is needed
#   PYTHON=venv/bin/python tests/bench/run.sh
#
# TIDEGATE: the binary. RECORDS, WIDE_RECORDS: lines of the long runs. PEER_RECORDS: lines of the comparison; 0 leaves
# it out. CORE: the core that everything is bound to. The rows of both must be the same, else the exit code is 1.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tidegate=${TIDEGATE:-$here/../../target/release/tidegate}
python=${PYTHON:-python3}
records=${RECORDS:-10000000}
wide_records=${WIDE_RECORDS:-2000000}
peer_records=${PEER_RECORDS:-1000000}
core=${CORE:-0}

scratch=$(mktemp -d "${TMPDIR:-/tmp}/tidegate-bench-XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# NAME PIPELINE SOURCE LINES...: runs over the lines; leaves NAME.json (summary, peak memory) and NAME.rows.
run_tidegate() {
    local name=$1 pipeline=$2 source=$3 lines=$4
    rm -rf "$scratch/state" "$scratch/$name.rows"
    taskset -c "$core" "$python" "$here/peak.py" "$tidegate" run "$here/$pipeline.yaml" --input "$source=$lines" \
        --state "$scratch/state" --to "$scratch/$name.rows" --json --quiet >"$scratch/$name.json"
}

# SCENARIO PIPELINE SOURCE LINES GENERATOR
scenario() {
    local name=$1 source=$2 lines=$3 generator=$4
    "$tidegate" generate "$generator?records=$lines&rate=1000" >"$scratch/lines"
    run_tidegate "$name" "$name" "$source" "$scratch/lines"
    "$python" "$here/table.py" run "$name" "$scratch/$name.json" "$scratch/$name.rows" "$(stat -c %s "$scratch/lines")"
    rm "$scratch/$name.rows"
    if [ "$peer_records" -gt 0 ]; then
        head -n "$peer_records" "$scratch/lines" >"$scratch/peer-lines"
        rm "$scratch/lines"
        run_tidegate "$name-short" "$name" "$source" "$scratch/peer-lines"
        taskset -c "$core" "$python" "$here/../spark/peer.py" --scenario "$name" --input "$scratch/peer-lines" \
            --output "$scratch/peer.rows" >"$scratch/peer.json"
        "$python" "$here/table.py" compare "$name" "$scratch/$name-short.json" "$scratch/$name-short.rows" \
            "$scratch/peer.json" "$scratch/peer.rows"
    fi
    rm -f "$scratch"/lines "$scratch"/peer-lines "$scratch"/*.rows
}

scenario treasury transactions "$records" treasury85
scenario wide requests "$wide_records" wide
