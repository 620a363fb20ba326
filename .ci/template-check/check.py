"""Checks template.yaml: translates it for each variant, lints the outcome, and holds it against the rules of rules.py.

Then it proves that the gate bites: broken.yaml and every mutation of mutations.json must be refused.
No contact with AWS. Usage: check.py ROOT WORK_FOLDER
"""

import copy
import json
import logging
import os
import pathlib
import subprocess
import sys

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from samtranslator.model.exceptions import InvalidDocumentException  # noqa: E402
from samtranslator.translator.transform import transform  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402

from resolve import Resolver  # noqa: E402
from rules import all_rules, granted  # noqa: E402

# It warns that its own statistics are not sent.
logging.getLogger("samtranslator.metrics.metrics").setLevel(logging.ERROR)

HERE = pathlib.Path(__file__).parent
CODE = "target/lambda/tidegate-processor/"
PACKAGED = "s3://packages/tidegate-processor.zip"


class NoManagedPolicies:
    """The translator asks for AWS's list of managed policies; the template names none."""

    def load(self):
        return {}


def translate(template, values):
    """The CloudFormation template, and the same with all parameters and conditions worked out."""
    template = copy.deepcopy(template)
    for entry in template["Resources"].values():
        # What `sam package` does.
        if entry["Type"] == "AWS::Serverless::Function" and entry["Properties"].get("CodeUri") == CODE:
            entry["Properties"]["CodeUri"] = PACKAGED
    parameters = {name: entry.get("Default", "") for name, entry in template.get("Parameters", {}).items()}
    parameters.update(values)
    unknown = set(values) - set(template.get("Parameters", {}))
    if unknown:
        raise SystemExit(f"variants.json: no such parameter: {', '.join(sorted(unknown))}")
    translated = transform(template, parameters, NoManagedPolicies())
    return translated, Resolver(translated, values).resolve(translated)


def lint(files):
    command = [pathlib.Path(sys.executable).parent / "cfn-lint", "--format", "parseable", "--regions", "us-east-1"]
    outcome = subprocess.run([*command, "--", *files], capture_output=True, text=True, check=False)
    if outcome.returncode not in (0, 2, 4, 6, 8, 10, 12, 14):
        raise SystemExit(f"cfn-lint failed: {outcome.stdout}{outcome.stderr}")
    return [line for line in outcome.stdout.splitlines() if line.strip()]


def write(folder, name, template):
    path = folder / f"{name}.json"
    path.write_text(json.dumps(template, indent=1))
    return path


def change(template, mutation):
    """A copy of the template with one property set, or removed where the mutation has no value."""
    template = copy.deepcopy(template)
    resource, *path = mutation["at"].split(".")
    node = template["Resources"][resource]["Properties"]
    for step in path[:-1]:
        node = node[int(step) if isinstance(node, list) else step]
    if "value" in mutation:
        node[path[-1]] = mutation["value"]
    else:
        del node[path[-1]]
    return template


def good(template, variants, allowed, folder):
    complaints, files, used = [], [], set()
    for name, values in variants.items():
        translated, resolved = translate(template, values)
        files.append(write(folder, name, resolved))
        complaints += [f"{name}: {rule}: {text}" for rule, text in all_rules(resolved, allowed)]
        used |= granted(resolved)
    complaints += [f"infra/permissions.json: {action} is granted nowhere" for action in sorted(set(allowed) - used)]
    # The whole: the empty defaults of what belongs to other sources are no mistake; the variants check real values.
    translated.setdefault("Metadata", {})["cfn-lint"] = {"config": {"ignore_checks": ["W1030", "W1032"]}}
    files.append(write(folder, "whole", translated))
    return complaints + lint(files)


def bites(template, variants, allowed, folder):
    """What the gate should have refused and did not."""
    missed = []
    to_lint = []
    for number, mutation in enumerate(json.loads((HERE / "mutations.json").read_text())):
        label = f"{mutation['variant']}: {mutation['at']} = {mutation.get('value', 'absent')}"
        _, resolved = translate(change(template, mutation), variants[mutation["variant"]])
        if mutation["rule"] == "cfn-lint":
            to_lint.append((label, write(folder, f"mutation-{number}", resolved)))
        elif mutation["rule"] not in {rule for rule, _ in all_rules(resolved, allowed)}:
            missed.append(f"{label}: not refused by rule {mutation['rule']}")
    broken = yaml_parse((HERE / "broken.yaml").read_text())
    translated, resolved = translate(broken, {})
    found = {rule for rule, _ in all_rules(resolved, allowed)}
    expected = {"retries", "record-age", "parallelization", "bisect", "destination", "responses", "wildcard"}
    missed += [f"broken.yaml: not refused by rule {rule}" for rule in sorted(expected - found)]
    to_lint.append(("broken.yaml", write(folder, "broken", translated)))
    complaints = "\n".join(lint([path for _, path in to_lint]))
    return missed + [f"{label}: not refused by cfn-lint" for label, path in to_lint if str(path) not in complaints]


def main():
    root, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    template = yaml_parse((root / "template.yaml").read_text())
    allowed = json.loads((root / "infra" / "permissions.json").read_text())
    variants = json.loads((HERE / "variants.json").read_text())
    if template["Resources"]["Processor"]["Properties"]["CodeUri"] != CODE:
        raise SystemExit(f"template.yaml: CodeUri must be {CODE}, where `cargo lambda build` puts the function")
    try:
        complaints = good(template, variants, allowed, folder)
    except InvalidDocumentException as error:
        complaints = [f"the SAM translator refuses it: {error.message} {[str(cause.message) for cause in error.causes]}"]
    missed = [] if complaints else bites(template, variants, allowed, folder)
    for text in complaints + missed:
        print(text)
    if complaints or missed:
        raise SystemExit(f"template check: {len(complaints)} complaints, {len(missed)} mistakes not noticed")
    count = len(json.loads((HERE / "mutations.json").read_text()))
    print(f"template check: {len(variants)} variants pass; broken.yaml and {count} mutations are refused")


main()
