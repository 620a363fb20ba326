"""Family `aggregates`: aggregates over one micro-batch (scope batch)."""

COLUMNS = ("branch string, currency string, amount decimal(12,2), w decimal(38,10), n bigint, q double, f float, i int, "
           "si smallint, flag boolean, d date, ts timestamp, tags array<string>")  # fmt: skip
# Run as it stands; its first column is the time of the run and is left out of the rows.
REFERENCE = ("select from_unixtime(unix_timestamp()) as curr_time, t.branch as branch_name, t.currency as currency_code, "
             "sum(amount) as batch_value from t group by t.branch, t.currency")  # fmt: skip
KEYS = [[], [], ["branch"], ["branch"], ["currency"], ["branch", "currency"], ["branch", "currency"], ["i"], ["flag"], ["d"],
        ["branch", "flag"], ["upper(branch)"], ["i % 3"], ["year(ts)"], ["coalesce(currency, 'none')"], ["q > 0"],
        ["date_trunc('MINUTE', ts)"], ["amount"]]  # fmt: skip
# text, whether the last digits of a double depend on the order of merging
SUMS = [("sum(amount)", 0), ("sum(n)", 0), ("sum(q)", 0), ("sum(i)", 0), ("sum(si)", 0), ("sum(w)", 0), ("sum(f)", 0),
        ("count(*)", 0), ("count(1)", 0), ("count(branch)", 0), ("count(amount, q)", 0), ("count(DISTINCT branch)", 0),
        ("count(DISTINCT branch, currency)", 0), ("count(DISTINCT i)", 0), ("sum(DISTINCT i)", 0), ("count_if(flag)", 0),
        ("count_if(amount > 0)", 0)]  # fmt: skip
MEANS = [("avg(amount)", 0), ("avg(w)", 0), ("avg(n)", 1), ("avg(q)", 0), ("avg(i)", 0), ("mean(si)", 0), ("stddev(q)", 1),
         ("stddev_samp(i)", 1), ("stddev_pop(q)", 1), ("variance(q)", 1), ("var_samp(amount)", 1), ("var_pop(i)", 1),
         ("median(i)", 0), ("percentile(q, 0.25)", 1), ("percentile_approx(i, 0.5)", 0), ("skewness(q)", 1), ("kurtosis(i)", 1),
         ("corr(q, i)", 1), ("covar_pop(q, i)", 1), ("covar_samp(q, i)", 1)]  # fmt: skip
EXTREMES = [("min(amount)", 0), ("max(amount)", 0), ("min(q)", 0), ("max(f)", 0), ("min(branch)", 0), ("max(currency)", 0),
            ("min(d)", 0), ("max(ts)", 0), ("min(flag)", 0), ("max(w)", 0), ("max_by(branch, n)", 0), ("min_by(currency, n)", 0),
            ("max_by(amount, ts)", 0), ("bool_and(flag)", 0), ("bool_or(flag)", 0), ("every(flag)", 0), ("some(flag)", 0),
            ("any(i > 3)", 0), ("bit_and(i)", 0), ("bit_or(i)", 0), ("bit_xor(i)", 0)]  # fmt: skip
LISTS = [("first(branch)", 0), ("last(branch)", 0), ("first(amount, true)", 0), ("last(q) IGNORE NULLS", 0), ("first_value(i)", 0),
         ("any_value(currency) IGNORE NULLS IS NOT NULL", 0), ("collect_list(i)", 0), ("collect_list(branch)", 0),
         ("sort_array(collect_set(currency))", 0), ("sort_array(collect_set(i))", 0), ("size(collect_set(branch))", 0),
         ("array_agg(amount)", 0), ("approx_count_distinct(currency)", 0), ("approx_count_distinct(i)", 0),
         ("listagg(currency, ',')", 0), ("string_agg(branch, ';')", 0), ("concat_ws('|', collect_list(currency))", 0),
         ("collect_list(named_struct('b', branch, 'n', n))", 0)]  # fmt: skip
OVER = [("sum(amount) / count(*)", 0), ("round(avg(amount), 2)", 0), ("sum(amount * 2) - 1", 0), ("max(i) - min(i)", 0),
        ("coalesce(sum(amount), 0)", 0), ("sum(CASE WHEN flag THEN amount ELSE 0 END)", 0), ("sum(amount) FILTER (WHERE i > 0)", 0),
        ("count(*) FILTER (WHERE flag)", 0), ("CASE WHEN count(*) > 2 THEN 'many' ELSE 'few' END", 0), ("sum(i) + sum(si)", 0),
        ("cast(sum(q) AS string)", 0), ("sum(if(currency = 'USD', amount, NULL))", 0), ("count(*) * 100 / 7", 0),
        ("named_struct('n', count(*), 's', sum(amount)) AS st", 0), ("max(amount) > 50", 0), ("max(length(branch))", 0),
        ("sum(amount) * 1.10", 0), ("abs(sum(n))", 0), ("concat('n=', count(*))", 0), ("max(struct(n, branch)).branch", 0),
        ("sum(q) / sum(i + 100)", 1), ("to_json(struct(sum(amount) AS s))", 0), ("try_divide(sum(i), sum(si))", 0)]  # fmt: skip
WHERES = [None, None, None, None, "amount > 0", "currency <> 'RUB'", "branch IS NOT NULL", "flag OR i > 2", "i > 1000"]
HAVINGS = [None, None, None, None, None, "count(*) > 1", "sum(amount) > 0", "max(i) IS NOT NULL", "count(*) > 1 AND min(q) < 50",
           "sum(amount) BETWEEN -100 AND 100"]  # fmt: skip


def record(rng, full):
    """One JSON line; doubles are multiples of a quarter, so that their sums are exact."""
    cents = rng.randint(-10000, 10000)
    fields = {
        "branch": rng.choice(['"Kazan"', '"SPB"', '"Novosibirsk"', '"Surgut"', "null"]),
        "currency": rng.choice(['"RUB"', '"USD"', '"EUR"', '"GBP"', '"usd"']),
        "amount": rng.choice([f"{cents / 100:.2f}", f"{cents / 100:.2f}", "null", str(cents // 100)]),
        "w": rng.choice([f"{rng.randint(-(10**9), 10**9)}.{rng.randrange(10**10):010}", "null", "1.5"]),
        "n": rng.choice([str(rng.randint(-(10**12), 10**12)), "null"]),
        "q": rng.choice([repr(rng.randint(-400, 400) * 0.25)] * 5 + ["null"]),
        "f": rng.choice([repr(rng.randint(-40, 40) * 0.25), "null"]),
        "i": rng.choice([str(rng.randint(-5, 9)), str(rng.randint(-5, 9)), "null"]),
        "si": str(rng.randint(-300, 300)),
        "flag": rng.choice(["true", "false", "null"]),
        "d": rng.choice(['"2026-01-01"', '"2026-01-02"', '"2025-12-31"', "null"]),
        "ts": f'"2026-01-0{rng.randint(1, 3)}T10:{rng.randrange(3):02}:{rng.randrange(60):02}.{rng.randrange(1000):03}Z"',
        "tags": rng.choice(['["a","b"]', "[]", "null", '["c"]']),
    }
    if rng.random() < 0.01:
        fields[rng.choice(["amount", "i", "ts"])] = '"x"'
    return "{" + ",".join(f'"{k}":{v}' for k, v in fields.items() if k in full or rng.random() < 0.02) + "}"


def names(query):
    """The declared columns that a query mentions, and one more."""
    words = query.replace("(", " ").replace(")", " ").replace(",", " ").replace("t.", " ").split()
    return {c.split()[0] for c in COLUMNS.replace("(12,2)", "").replace("(38,10)", "").split(", ") if c.split()[0] in words} | {"currency"}


def draw(rng, index):
    """One case without its answers."""
    pool = [SUMS, MEANS, EXTREMES, LISTS, OVER][index % 5]
    chosen = rng.sample(pool, 3) + rng.sample(SUMS, 1)
    keys, where, having = rng.choice(KEYS), rng.choice(WHERES), rng.choice(HAVINGS)
    items = list(keys) if rng.random() < 0.85 else []
    items += [f"{text} AS a{i}" if " AS " not in text and rng.random() < 0.6 else text for i, (text, _) in enumerate(chosen)]
    query = f"SELECT {', '.join(items)} FROM t" + (f" WHERE {where}" if where else "")
    query += f" GROUP BY {', '.join(keys)}" if keys else ""
    query += f" HAVING {having}" if having else ""
    case = {"columns": COLUMNS, "watermark": None, "query": query, "scope": "batch", "approx": any(flag for _, flag in chosen)}
    if index in (0, 1, 2):
        case |= {"query": REFERENCE, "ignore": ["curr_time"], "approx": False}
    used = names(case["query"])
    sizes = [rng.choice([1, 2, 6, 12, 20]) for _ in range(rng.choice([1, 1, 2, 3]))]
    return case | {"batches": [[record(rng, used) for _ in range(size)] for size in sizes]}
