"""Seeded JSON values for every column type, and the lines made of them."""

import json

# name -> type, in the order in which they are declared
COLUMNS = {
    "s": "string", "u": "string", "ns": "string", "js": "string",
    "b": "boolean", "c": "boolean",
    "ti": "tinyint", "si": "smallint", "i": "int", "j": "int", "l": "bigint",
    "f": "float", "d": "double", "m": "decimal(12,2)", "w": "decimal(38,10)",
    "dt": "date", "dt2": "date", "ts": "timestamp", "ts2": "timestamp", "bin": "binary",
    "st": "struct<a:int,b:string>", "ai": "array<int>", "sa": "array<string>", "mp": "map<string,int>",
}  # fmt: skip

STRINGS = [
    "", "a", "abc", "Hello World", "hello", "tide gate", "Straße", "日本語", "😀 ok", "a,b,c", "x=1;y=2", "a_b", "a%b",
    "A1b2C3", "  padded  ", "ÀÉ", "aXbXc", "zzz", "The quick brown fox", "null", "tab\there", 'quo"te', "back\\slash",
    "line\nbreak", "/a/b", "x" * 20, "2026-01-05", "é",
]  # fmt: skip
NUMBER_STRINGS = ["0", "1", "12", "-7", " 8 ", "100", "007", "+5"]
JSON_STRINGS = [
    '{"a":1,"b":{"c":[1,2,3]},"s":"x"}', '{"a":2.5,"b":{"c":[]},"s":null}', '{"a":"7"}', "{}", '{"s":"quote\\"d","b":{}}',
    '[1,2,3]', '{"a":true,"x":[{"y":1},{"y":2}]}', '{"a":-3,"b":{"c":[4]},"s":"ünï"}', "not json", "",
]  # fmt: skip


def integer(rng, low, high):
    return rng.choice([0, 1, -1, 2, 7, 10, low, high, rng.randint(low, high), rng.randint(low, high)])


def double(rng):
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice([0.0, 0.5, -2.5, 2.5, 1e10, 1.5e-7, 123456789.125, -0.75, 3.5, 1e21])
    if kind == 1:
        return float(rng.randint(-1000, 1000))
    return round(rng.uniform(-1000, 1000), rng.randint(1, 6))


def timestamp(rng):
    day = rng.choice(["2026-01-01", "2026-02-28", "2024-02-29", "2025-12-31", "1999-07-04", "2026-11-21"])
    clock = f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}"
    fraction = rng.choice(["", "", ".5", ".123", ".000001", ".987654"])
    return f"{day}T{clock}{fraction}{rng.choice(['Z', 'Z', '+02:00', ''])}"


def date(rng):
    return rng.choice(["2026-01-01", "2026-02-28", "2024-02-29", "2025-12-31", "1970-01-01", "1999-07-04", "2026-11-21", "1960-03-31"])


def json_value(rng, name):
    """The JSON text of one value for a column of COLUMNS."""
    kind = COLUMNS[name]
    if name in ("ns", "js"):
        return json.dumps(rng.choice(NUMBER_STRINGS if name == "ns" else JSON_STRINGS), ensure_ascii=False)
    plain = {
        "string": lambda: json.dumps(rng.choice(STRINGS), ensure_ascii=False),
        "boolean": lambda: rng.choice(["true", "false"]),
        "tinyint": lambda: str(integer(rng, -40, 40)),
        "smallint": lambda: str(integer(rng, -900, 900)),
        "int": lambda: str(integer(rng, -20000, 20000)),
        "bigint": lambda: str(integer(rng, -(10**10), 10**10)),
        "float": lambda: repr(rng.choice([0.0, 0.5, -1.25, 3.75, 100.0, 1e10, 0.1, 2.5])),
        "double": lambda: repr(double(rng)),
        "decimal(12,2)": lambda: f"{rng.randint(-10**5, 10**5) / 100:.2f}",
        "decimal(38,10)": lambda: f"{rng.randint(-10**6, 10**6)}.{rng.randrange(10**10):010}",
        "date": lambda: f'"{date(rng)}"',
        "timestamp": lambda: f'"{timestamp(rng)}"',
        "binary": lambda: rng.choice(['"SGVsbG8="', '"AAEC/w=="', '""', '"YQ=="']),
        "array<int>": lambda: json.dumps([rng.choice([None, 1, 2, 3, 5, -4]) for _ in range(rng.randrange(5))]),
        "array<string>": lambda: json.dumps([rng.choice([None, "a", "b", "ab", "", "é"]) for _ in range(rng.randrange(4))]),
        "map<string,int>": lambda: json.dumps({k: rng.choice([None, 1, 2, -3]) for k in rng.sample(["a", "b", "k", ""], rng.randrange(4))}),
        "struct<a:int,b:string>": lambda: rng.choice(['{"a":1,"b":"x"}', '{"a":null,"b":"y"}', '{"b":"z"}', "{}", '{"a":-5}', '{"b":"é","a":9,"c":0}']),
    }  # fmt: skip
    return plain[kind]()


def line(rng, names, null=0.12, missing=0.05, shuffle=0.2):
    """One JSON object with the named columns, some null, some missing, sometimes in another order."""
    fields = []
    for name in names:
        draw = rng.random()
        if draw >= null + missing:
            fields.append(f'"{name}":{json_value(rng, name)}')
        elif draw < null:
            fields.append(f'"{name}":null')
    if rng.random() < shuffle:
        rng.shuffle(fields)
    return "{" + ",".join(fields) + "}"


def ddl(names):
    return ", ".join(f"{n} {COLUMNS[n]}" for n in COLUMNS if n in names)
