"""Family `windows`: tumbling windows with a watermark, append mode, several micro-batches, one lane."""

COLUMNS = "branch string, currency string, amount decimal(12,2), n bigint, q double, i int, flag boolean, ts timestamp"
SIZES = ["1 second", "2 seconds", "2 seconds", "5 seconds", "10 seconds", "1 minute", "10 minutes", "1500 milliseconds"]
SECONDS = {"1 second": 1, "2 seconds": 2, "5 seconds": 5, "10 seconds": 10, "1 minute": 60, "10 minutes": 600, "1500 milliseconds": 1.5}
DELAYS = ["0 seconds", "1 second", "2 seconds", "5 seconds", "500 milliseconds", "30 seconds", "1 minute"]
KEYS = [[], [], ["branch"], ["branch"], ["branch", "currency"], ["branch", "currency"], ["currency"], ["i"], ["flag"],
        ["upper(branch)"], ["i % 3"], ["coalesce(branch, 'none')"], ["branch", "i"]]  # fmt: skip
WHERES = [None, None, None, "amount > 0", "currency <> 'RUB'", "branch IS NOT NULL", "i BETWEEN -3 AND 5", "flag",
          "currency IN ('USD', 'EUR') OR n < 0", "branch LIKE 'K%'", "NOT flag AND amount IS NOT NULL"]  # fmt: skip
HAVINGS = [None, None, None, None, "count(*) > 1", "sum(amount) > 0", "sum(n) IS NOT NULL", "max(i) >= 2 AND count(*) < 9"]
# text, whether doubles are merged in an order that is not defined
AGGREGATES = [
    ("sum(amount)", False), ("sum(n)", False), ("sum(q)", False), ("sum(i)", False), ("count(*)", False),
    ("count(amount)", False), ("count(branch)", False), ("avg(amount)", False), ("avg(i)", False), ("avg(q)", False),
    ("min(amount)", False), ("max(amount)", False), ("min(q)", False), ("max(n)", False), ("min(ts)", False),
    ("max(ts)", False), ("min(branch)", False), ("max(currency)", False), ("count_if(flag)", False),
    ("count_if(amount > 0)", False), ("sum(amount) / count(*)", False), ("sum(amount * 2)", False), ("max(i) - min(i)", False),
    ("sum(CASE WHEN flag THEN amount ELSE 0 END)", False), ("coalesce(sum(amount), 0)", False), ("stddev(q)", True),
    ("variance(i)", True), ("approx_count_distinct(currency)", False), ("bool_or(flag)", False), ("every(flag)", False),
    ("sum(amount) FILTER (WHERE flag)", False), ("sum(abs(n))", False), ("max_by(branch, q)", False), ("round(avg(amount), 2)", False),
]  # fmt: skip
SHAPES = ["window.start, window.end", "window.start AS window_start", "window.end AS we", "window", "window.start",
          "date_format(window.start, 'HH:mm:ss') AS at, window.end"]  # fmt: skip
BASE = 1767268800  # 2026-01-01 12:00:00 UTC


def iso(seconds):
    """The event time in one of the forms that Spark reads; micros kept."""
    micros = round(seconds * 1_000_000)
    whole, fraction = divmod(micros, 1_000_000)
    day = (whole - BASE + 12 * 3600) // 86400
    clock = (whole - BASE + 12 * 3600) % 86400
    text = f"2026-01-{1 + day:02}T{clock // 3600:02}:{clock // 60 % 60:02}:{clock % 60:02}"
    return text + (f".{fraction:06}".rstrip("0") if fraction else "")


def event_time(rng, now, reach):
    """JSON text of an event time: mostly near `now`, some far behind, some null."""
    draw = rng.random()
    if draw < 0.05:
        return None
    back = reach * rng.choice([0, 0.2, 0.5, 1]) * rng.random()
    if draw < 0.2:
        back = reach * (1 + 4 * rng.random())
    at = now - back
    at = rng.choice([float(int(at)), float(int(at)), round(at, 3), round(at, 6)])
    if draw > 0.97 and at == int(at):
        return str(int(at))
    return f'"{iso(at)}{rng.choice(["Z", "Z", "Z", "", "+00:00"])}"'


def record(rng, now, reach):
    """One JSON line; now and then one that does not fit the columns."""
    cents = rng.randint(-10000, 10000)
    fields = {
        "branch": rng.choice(['"Kazan"', '"SPB"', '"Novosibirsk"', '"Surgut"', "null"]),
        "currency": rng.choice(['"RUB"', '"USD"', '"EUR"', '"GBP"']),
        "amount": rng.choice([f"{cents / 100:.2f}", f"{cents / 100:.2f}", "null", str(cents // 100)]),
        "n": rng.choice([str(rng.randint(-50, 50)), str(rng.randint(-(10**12), 10**12)), "null"]),
        "q": repr(rng.randint(-400, 400) * 0.25),
        "i": rng.choice([str(rng.randint(-5, 9)), "null"]),
        "flag": rng.choice(["true", "false", "null"]),
        "ts": event_time(rng, now, reach),
    }
    if rng.random() < 0.02:
        fields[rng.choice(["amount", "i", "ts"])] = '"x"'
    return "{" + ",".join(f'"{k}":{v}' for k, v in fields.items() if v is not None) + "}"


def batches(rng, size, delay):
    """Two to six micro-batches whose clock moves on by about a window each, sometimes by far, sometimes not at all."""
    reach = max(size, delay, 1)
    now, result = BASE + rng.randrange(600), []
    for _ in range(rng.randint(2, 5)):
        lines = []
        for _ in range(rng.choice([1, 3, 8, 8, 14])):
            now += rng.random() * reach * 0.25
            lines.append(record(rng, now, reach))
        result.append(lines)
        now += rng.choice([0, 0, size, size, 2 * size, 10 * size])
    return result


def delay_seconds(delay):
    number, unit = delay.split()
    return float(number) * {"milliseconds": 0.001, "minute": 60}.get(unit, 1)


def draw(rng, index):
    """One case without its answers."""
    size, delay = rng.choice(SIZES), rng.choice(DELAYS)
    keys, where, having = rng.choice(KEYS), rng.choice(WHERES), rng.choice(HAVINGS)
    chosen = rng.sample(AGGREGATES, rng.randint(1, 4))
    window = f"window(ts, '{size}')"
    items = [rng.choice(SHAPES)] + keys
    items += [f"{text} AS a{i}" if rng.random() < 0.7 else text for i, (text, _) in enumerate(chosen)]
    group = [window] + keys
    if rng.random() < 0.2:
        group = keys + [window]
    query = f"SELECT {', '.join(items)} FROM t"
    query += f" WHERE {where}" if where else ""
    query += f" GROUP BY {', '.join(group)}"
    query += f" HAVING {having}" if having else ""
    return {
        "columns": COLUMNS,
        "watermark": {"column": "ts", "delay": delay},
        "query": query,
        "scope": "stream",
        "approx": any(flag for _, flag in chosen),
        "batches": batches(rng, SECONDS[size], delay_seconds(delay)),
        "drained": rng.random() < 0.6,
        "parts": {"window": window, "keys": keys, "where": where},
    }
