#!/usr/bin/env bash
# Serves the Kinesis API on 127.0.0.1:PORT until it is killed; all in memory.
#
#   bash .ci/stand-in/kinesis.sh PORT
#
# TIDEGATE_CI_CACHE: folder that keeps the installation between runs [default: ~/.cache/tidegate-ci].
# Exit code 3: it cannot be installed here, for want of Node.js or of a way to the package index.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
port=${1:?port}
cache=${TIDEGATE_CI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegate-ci}
folder=$cache/kinesis-$(sha256sum "$here/kinesis/package-lock.json" | cut -c1-12)
mkdir -p "$cache"
install() {
    rm -rf "$folder"
    mkdir "$folder"
    cp "$here/kinesis/package.json" "$here/kinesis/package-lock.json" "$folder"
    (cd "$folder" && timeout 120 npm ci --omit=optional --ignore-scripts --no-audit --no-fund --silent) &&
        touch "$folder/ready"
}
if [ ! -e "$folder/ready" ]; then
    # Test binaries run side by side: one installs, the others wait.
    exec 9>"$cache/kinesis.lock"
    flock 9
    if [ ! -e "$folder/ready" ]; then install >&2 || exit 3; fi
    exec 9>&-
fi
exec node "$here/kinesis/serve.js" "$folder" "$port"
