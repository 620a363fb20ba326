#!/usr/bin/env python3
"""Runs a command that prints one JSON object; prints it with the command's CPU seconds and peak memory added."""

import json
import resource
import subprocess
import sys

ended = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, check=False)
if ended.returncode != 0:
    sys.exit(ended.returncode)
report = json.loads(ended.stdout)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
report["cpu_seconds"] = used.ru_utime + used.ru_stime
report["peak_mb"] = round(used.ru_maxrss / 1024)
print(json.dumps(report))
