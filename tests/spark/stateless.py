"""Family `stateless`: projections and filters over every column type, one topic per case."""

import re

import values
from expressions import LEAVES, NESTED, TOPICS

# exact only to the last digits: Java and C libraries round these differently
INEXACT = re.compile(r"\b(sqrt|cbrt|exp|expm1|ln|log|log2|log10|log1p|pow|power|sin|cos|tan|asin|acos|atan|atan2|sinh|cosh|tanh|"
                     r"degrees|radians|hypot|cot|sec|csc|asinh|acosh|atanh)\(")  # fmt: skip
SPOT = re.compile(r"\{([A-Z]+)\}")
ORDER = ["arithmetic", "string", "date", "compare", "cast", "collections", "math", "case", "string", "date", "explode", "json"]


def fill(rng, text, depth=2):
    """Replaces {I}, {S} and the like by columns, literals or expressions of that type."""

    def one(match):
        kind = match.group(1)
        if depth > 0 and kind in NESTED and rng.random() < 0.25:
            return fill(rng, rng.choice(NESTED[kind]), depth - 1)
        return rng.choice(LEAVES[kind])

    return SPOT.sub(one, text)


def used(query):
    """The columns of `values` that a query mentions."""
    words = set(re.findall(r"[a-z_]\w*", re.sub(r"'[^']*'", "''", query).lower()))
    return [name for name in values.COLUMNS if name in words]


def query_of(rng, topic):
    """(prefix, items, suffix) of a query of a topic."""
    if topic == "explode":
        text = fill(rng, rng.choice(TOPICS["explode"]))
        return None, [text], None
    pool = TOPICS[topic]
    items = []
    for number, text in enumerate(rng.sample(pool, min(len(pool), rng.randint(3, 5)))):
        text = fill(rng, text)
        named = rng.random() < 0.75 and not text.endswith("*")
        items.append(f"{text} AS x{number}" if named else text)
    where = fill(rng, f" WHERE {rng.choice(TOPICS['compare'])}", 1) if rng.random() < 0.2 else ""
    return "SELECT ", items, f" FROM t{where}"


def draw(rng, index):
    """One case without its answers."""
    topic = ORDER[index % len(ORDER)]
    prefix, items, suffix = query_of(rng, topic)
    return with_items(rng, topic, prefix, items, suffix)


def with_items(rng, topic, prefix, items, suffix):
    query = items[0] if prefix is None else prefix + ", ".join(items) + suffix
    names = used(query) or ["i"]
    batches = [[values.line(rng, names) for _ in range(rng.randint(4, 8))] for _ in range(rng.choice([1, 1, 1, 2]))]
    batches[0].append("{}")
    return {
        "topic": topic,
        "columns": values.ddl(names),
        "watermark": None,
        "query": query,
        "scope": "stream",
        "approx": bool(INEXACT.search(query)),
        "batches": batches,
        "items": (prefix, items, suffix),
    }
