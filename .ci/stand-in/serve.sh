#!/usr/bin/env bash
# Serves S3, SQS and DynamoDB semantics on 127.0.0.1:PORT until it is killed; all in memory.
#
#   bash .ci/stand-in/serve.sh PORT
#
# TIDEGATE_CI_CACHE: folder that keeps the installation between runs [default: ~/.cache/tidegate-ci].
# TIDEGATE_PYTHON: the Python to use (3.10 or newer) [default: python3].
# Exit code 3: it cannot be installed here, for want of Python or of a way to the package index.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
port=${1:?port}
python=${TIDEGATE_PYTHON:-python3}
cache=${TIDEGATE_CI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegate-ci}
venv=$cache/stand-in-$(sha256sum "$here/requirements.txt" | cut -c1-12)
mkdir -p "$cache"
install() {
    rm -rf "$venv"
    "$python" -m venv "$venv" &&
        "$venv/bin/pip" install --quiet --disable-pip-version-check --timeout 20 --retries 2 --no-deps \
            --requirement "$here/requirements.txt" &&
        touch "$venv/ready"
}
if [ ! -e "$venv/ready" ]; then
    # Test binaries run side by side: one installs, the others wait.
    exec 9>"$cache/stand-in.lock"
    flock 9
    if [ ! -e "$venv/ready" ]; then install >&2 || exit 3; fi
    exec 9>&-
fi
# Its default is to listen on every interface.
export BIND_HOST=127.0.0.1 GATEWAY_PORT=$port SERVICES=s3,sqs,dynamodb LOG_LEVEL=ERROR
export PERSIST_STATE=0 S3_PERSIST=0 PYTHONDONTWRITEBYTECODE=1
exec "$venv/bin/ministack"
