#!/usr/bin/env bash
# Translates and lints template.yaml for every variant, and proves that mistakes are refused.
# TIDEGATE_CI_CACHE: a folder that keeps the tools between runs; without it they are installed anew each time.
# TIDEGATE_PYTHON: the Python to use (3.10 or newer); default python3.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cache=${TIDEGATE_CI_CACHE:-$work}
venv=$cache/template-check-$(sha256sum "$here/requirements.txt" | cut -c1-12)
if [ ! -e "$venv/ready" ]; then
    "${TIDEGATE_PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
    touch "$venv/ready"
fi
PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" "$here/check.py" "$root" "$work/out"
