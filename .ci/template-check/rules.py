"""The settings that exactly-once and least privilege depend on. Each function yields complaints as (rule, text)."""

import json
import re

KAFKA_KEYS = ("AmazonManagedKafkaEventSourceConfig", "SelfManagedEventSource")
VARIABLES = ("TIDEGATE_PIPELINE", "TIDEGATE_TABLE", "TIDEGATE_BUCKET", "TIDEGATE_DEAD_LETTER_QUEUE")
NETWORK_RESOURCE = "*"
TICK = '{"tidegate":"tick"}'


def of_type(template, kind):
    found = [(name, entry) for name, entry in template["Resources"].items() if entry["Type"] == kind]
    return [(name, {"Properties": {}, **entry}) for name, entry in found]


def as_list(value):
    return value if isinstance(value, list) else [value]


def sources(template):
    mappings = of_type(template, "AWS::Lambda::EventSourceMapping")
    if len(mappings) != 1:
        yield "one-source", f"{len(mappings)} event source mappings; a deployment has one"
    for name, entry in mappings:
        yield from source(name, entry["Properties"])


def source(name, properties):
    kafka = any(key in properties for key in KAFKA_KEYS)
    provisioned = "ProvisionedPollerConfig" in properties
    endless = not kafka or provisioned
    for key, rule in (("MaximumRetryAttempts", "retries"), ("MaximumRecordAgeInSeconds", "record-age")):
        if endless and properties.get(key) != -1:
            yield rule, f"{name}: {key} is {properties.get(key)}, must be -1: a mapping that gives up leaves a silent gap"
        if not endless and key in properties:
            yield rule, f"{name}: {key} exists for Kafka in provisioned mode only"
    if properties.get("BisectBatchOnFunctionError", False) is not False:
        yield "bisect", f"{name}: BisectBatchOnFunctionError must be false: bad records become dead letters by themselves"
    if kafka and "ParallelizationFactor" in properties:
        yield "parallelization", f"{name}: Kafka knows no ParallelizationFactor"
    if not kafka and properties.get("ParallelizationFactor") != 1:
        yield "parallelization", f"{name}: ParallelizationFactor must be 1: more mixes the records of a shard"
    if "DestinationConfig" in properties:
        yield "destination", f"{name}: an on-failure destination makes the mapping discard batches"
    reports = properties.get("FunctionResponseTypes", [])
    if reports != (["ReportBatchItemFailures"] if endless else []):
        yield "responses", f"{name}: FunctionResponseTypes is {reports}; it must say what the mapping reads"
    for key in ("FilterCriteria", "TumblingWindowInSeconds"):
        if key in properties:
            yield "filter", f"{name}: {key} changes what arrives; filter and window in SQL"
    if properties.get("StartingPosition") not in ("TRIM_HORIZON", "LATEST"):
        yield "starting-position", f"{name}: StartingPosition is {properties.get('StartingPosition')}"
    if not 1 <= properties.get("BatchSize", 0) <= 10000:
        yield "batch", f"{name}: BatchSize is {properties.get('BatchSize')}"
    if kafka and "VPC_SUBNET" not in str(properties) and "EventSourceArn" not in properties:
        if "AUTH" not in str(properties.get("SourceAccessConfigurations")):
            yield "sign-in", f"{name}: a cluster on the internet needs credentials"


def functions(template):
    for name, entry in of_type(template, "AWS::Lambda::Function"):
        properties = entry["Properties"]
        if (properties.get("Runtime"), properties.get("Handler")) != ("provided.al2023", "bootstrap"):
            yield "runtime", f"{name}: the runtime is provided.al2023 with bootstrap"
        missing = [key for key in VARIABLES if not properties.get("Environment", {}).get("Variables", {}).get(key)]
        if missing:
            yield "variables", f"{name}: {', '.join(missing)} not set"
        if properties.get("Architectures") not in (["arm64"], ["x86_64"]):
            yield "architecture", f"{name}: Architectures is {properties.get('Architectures')}"
        if "LoggingConfig" not in properties:
            yield "logs", f"{name}: no log group of its own, so logs would never expire"
        if "DeadLetterConfig" in properties:
            yield "destination", f"{name}: DeadLetterConfig is for asynchronous calls"
    for name, entry in of_type(template, "AWS::Lambda::EventInvokeConfig"):
        if "DestinationConfig" in entry["Properties"]:
            yield "destination", f"{name}: an event source mapping does not read it"


def ticks(template):
    rules = of_type(template, "AWS::Events::Rule")
    callers = of_type(template, "AWS::Lambda::Permission")
    function = [name for name, _ in of_type(template, "AWS::Lambda::Function")]
    allowed = [as_text(entry["Properties"].get("SourceArn")) for _, entry in callers]
    for name, entry in rules:
        properties = entry["Properties"]
        rate = re.fullmatch(r"rate\((?:1 minute|([2-9]|[1-5]\d|60) minutes)\)", str(properties.get("ScheduleExpression")))
        if not rate or properties.get("State", "ENABLED") != "ENABLED":
            yield "tick-rate", f"{name}: {properties.get('ScheduleExpression')} is no rate between 1 and 60 minutes"
        targets = [(as_text(target.get("Arn")), target.get("Input")) for target in properties.get("Targets", [])]
        if targets != [(as_text({"Fn::GetAtt": [item, "Arn"]}), TICK) for item in function]:
            yield "tick", f"{name}: its one target is the function, with {TICK}: {targets}"
        if as_text({"Fn::GetAtt": [name, "Arn"]}) not in allowed:
            yield "caller", f"{name}: may not invoke the function"
        attempts = [config["Properties"].get("MaximumRetryAttempts") for _, config in
                    of_type(template, "AWS::Lambda::EventInvokeConfig")]
        if attempts != [0]:
            yield "tick-retries", f"{name}: a failed tick is repeated; the next one does its work"
    known = [as_text({"Fn::GetAtt": [name, "Arn"]}) for name, _ in rules]
    for name, entry in callers:
        properties = entry["Properties"]
        caller = (properties.get("Principal"), properties.get("Action"))
        if caller != ("events.amazonaws.com", "lambda:InvokeFunction") or as_text(properties.get("SourceArn")) not in known:
            yield "caller", f"{name}: only the rule may invoke the function"


def as_text(value):
    return json.dumps(value, sort_keys=True)


def state(template):
    kept = ("AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue")
    for kind in kept:
        found = of_type(template, kind)
        if len(found) != 1:
            yield "state", f"{len(found)} of {kind}"
        for name, entry in found:
            if (entry.get("DeletionPolicy"), entry.get("UpdateReplacePolicy")) != ("Retain", "Retain"):
                yield "retain", f"{name}: must outlive the stack"
    for name, entry in of_type(template, kept[0]):
        properties = entry["Properties"]
        keys = [(key["AttributeName"], key["KeyType"]) for key in properties["KeySchema"]]
        if keys != [("pk", "HASH"), ("sk", "RANGE")]:
            yield "keys", f"{name}: the keys are {keys}"
        if "TimeToLiveSpecification" in properties:
            yield "ttl", f"{name}: a TTL deletes commits"
        if not properties.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled"):
            yield "recovery", f"{name}: point-in-time recovery is off"
        if properties.get("BillingMode") != "PAY_PER_REQUEST":
            yield "billing", f"{name}: not PAY_PER_REQUEST"
    for name, entry in of_type(template, kept[1]):
        properties = entry["Properties"]
        block = properties.get("PublicAccessBlockConfiguration", {})
        if len(block) != 4 or not all(value is True for value in block.values()):
            yield "public", f"{name}: public access is not blocked"
        if "BucketEncryption" not in properties:
            yield "encryption", f"{name}: not encrypted"
        if "LifecycleConfiguration" in properties:
            yield "ttl", f"{name}: a lifecycle rule deletes state"
    for name, entry in of_type(template, kept[2]):
        properties = entry["Properties"]
        if properties.get("MessageRetentionPeriod") != 1209600:
            yield "retention", f"{name}: dead letters must stay 14 days"
        if properties.get("SqsManagedSseEnabled") is not True and "KmsMasterKeyId" not in properties:
            yield "encryption", f"{name}: not encrypted"


def statements(template):
    for _, role in of_type(template, "AWS::IAM::Role"):
        for policy in role["Properties"].get("Policies", []):
            yield from as_list(policy["PolicyDocument"]["Statement"])


def permissions(template, allowed):
    for name, role in of_type(template, "AWS::IAM::Role"):
        if role["Properties"].get("ManagedPolicyArns"):
            yield "managed-policy", f"{name}: managed policies allow more than is called"
    for kind in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
        for name, _ in of_type(template, kind):
            yield "managed-policy", f"{name}: permissions stand in the role itself"
    for statement in statements(template):
        sid = statement.get("Sid", "?")
        if "NotAction" in statement or "NotResource" in statement:
            yield "wildcard", f"{sid}: NotAction and NotResource allow what nobody listed"
        for action in as_list(statement.get("Action", [])):
            if "*" in action or action not in allowed:
                yield "permission", f"{sid}: {action} is not in infra/permissions.json"
                continue
            for resource in as_list(statement["Resource"]):
                if resource == NETWORK_RESOURCE and allowed[action]["resource"] != NETWORK_RESOURCE:
                    yield "wildcard", f"{sid}: {action} on every resource"
                if resource == "":
                    yield "wildcard", f"{sid}: {action} on an empty resource"


def granted(template):
    return {action for statement in statements(template) for action in as_list(statement.get("Action", []))}


def all_rules(template, allowed):
    yield from sources(template)
    yield from functions(template)
    yield from ticks(template)
    yield from state(template)
    yield from permissions(template, allowed)
