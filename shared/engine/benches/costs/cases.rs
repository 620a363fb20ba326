//! What is measured: an expression of the dialect, and what comes nearest to it in DataFusion.

/// Whether both sides give the same values.
pub enum Same {
    /// They do, and it is checked.
    Values,
    /// They cannot: another type, another form of text, other digits.
    Not,
}

/// One line of the table.
pub struct Case {
    /// In the dialect.
    pub ours: &'static str,
    /// In DataFusion without it.
    pub theirs: &'static str,
    pub same: Same,
    /// Why it may cost more than twice as much; empty where it must not.
    pub why: &'static str,
    /// Group keys of an aggregate.
    pub by: Option<&'static str>,
}

const fn same(ours: &'static str, theirs: &'static str) -> Case {
    Case { ours, theirs, same: Same::Values, why: "", by: None }
}

const fn like(ours: &'static str, theirs: &'static str) -> Case {
    Case { ours, theirs, same: Same::Not, why: "", by: None }
}

const fn total(ours: &'static str, theirs: &'static str) -> Case {
    Case { ours, theirs, same: Same::Values, why: "", by: Some("k") }
}

const fn total_like(ours: &'static str, theirs: &'static str) -> Case {
    Case { ours, theirs, same: Same::Not, why: "", by: Some("k") }
}

impl Case {
    const fn because(mut self, why: &'static str) -> Self {
        self.why = why;
        self
    }
}

/// Operators, functions by Spark's groups, aggregates.
pub const CASES: &[Case] = &[
    // Operators.
    same("i + j", "i + j").because("overflow is checked"),
    same("l - i", "l - i").because("overflow is checked"),
    same("i * j", "i * j").because("overflow is checked"),
    same("i / j", "CAST(i AS double) / j"),
    same("i div j", "CAST(i / j AS bigint)").because("overflow and zero are checked"),
    same("i % j", "i % j").because("zero is checked"),
    same("d + e", "d + e"),
    same("d * 2", "d * 2"),
    same("d / e", "d / e").because("zeros are looked for"),
    same("m + m", "m + m").because("checked against the precision"),
    like("m * m", "m * m").because("checked against the precision"),
    like("m / j", "m / j").because("38 digits, rounded half up"),
    same("-l", "-l").because("overflow is checked"),
    same("i > j", "i > j"),
    same("d > e", "d > e"),
    same("d > 100", "d > 100"),
    same("i = l", "i = l"),
    same("i <=> j", "i IS NOT DISTINCT FROM j"),
    same("k = 'key-17'", "k = 'key-17'"),
    same("k IN ('key-17', 'key-18', 'key-19')", "k IN ('key-17', 'key-18', 'key-19')"),
    same("i BETWEEN 5 AND 500", "i BETWEEN 5 AND 500"),
    same("s LIKE '%17%'", "s LIKE '%17%'"),
    same("s RLIKE 'number [0-9]+'", "regexp_like(s, 'number [0-9]+')"),
    same("b AND i > 5", "b AND i > 5"),
    same("CASE WHEN i > 0 THEN k ELSE s END", "CASE WHEN i > 0 THEN k ELSE s END"),
    same("CASE WHEN i > 0 THEN i + j ELSE i - j END", "CASE WHEN i > 0 THEN i + j ELSE i - j END"),
    same("if(i > 0, l, 0)", "CASE WHEN i > 0 THEN l ELSE 0 END"),
    same("coalesce(k, s)", "coalesce(k, s)"),
    same("nullif(i, 5)", "nullif(i, 5)"),
    same("greatest(i, j)", "greatest(i, j)"),
    same("try_element_at(a, 1)", "a[1]").because("counts from the end too"),
    // Casts.
    same("cast(i AS bigint)", "CAST(i AS bigint)"),
    same("cast(l AS int)", "CAST(l AS int)").because("what does not fit is looked for"),
    same("cast(i AS string)", "CAST(i AS varchar)"),
    like("cast(d AS string)", "CAST(d AS varchar)").because("as Java writes doubles"),
    same("cast(m AS string)", "CAST(m AS varchar)"),
    same("cast(n AS int)", "CAST(n AS int)"),
    same("cast(n AS double)", "CAST(n AS double)").because("numbers in the forms of Java"),
    same("cast(n AS decimal(12,2))", "CAST(n AS decimal(12,2))"),
    like("cast(ts AS string)", "CAST(ts AS varchar)"),
    same("cast(st AS timestamp)", "to_timestamp_micros(st)"),
    same("cast(ts AS date)", "CAST(ts AS date)"),
    same("cast(dt AS string)", "CAST(dt AS varchar)"),
    same("cast(m AS double)", "CAST(m AS double)"),
    same("cast(d AS bigint)", "CAST(d AS bigint)").because("what does not fit is looked for"),
    // Numbers.
    same("abs(i)", "abs(i)"),
    like("round(d, 1)", "round(d, 1)")
        .because("half up on the shortest decimal form of a double, as Java's BigDecimal rounds"),
    like("floor(d)", "floor(d)").because("gives a bigint: what does not fit is looked for"),
    like("ceil(d)", "ceil(d)").because("gives a bigint: what does not fit is looked for"),
    same("sqrt(e)", "sqrt(e)"),
    same("pow(e, 2)", "power(e, 2.0)"),
    same("exp(e / 100)", "exp(e / 100)"),
    same("ln(e)", "ln(e)"),
    same("pmod(i, 7)", "((i % 7) + 7) % 7").because("zero is checked"),
    like("format_number(d, 2)", "CAST(round(d, 2) AS varchar)").because("grouped and rounded as Java does"),
    // Texts.
    same("upper(k)", "upper(k)").because("checked to be text once more"),
    same("lower(s)", "lower(s)").because("checked to be text once more"),
    same("trim(u)", "btrim(u)").because("blanks are looked for character by character"),
    same("length(u)", "character_length(u)"),
    same("substring(s, 8, 6)", "substr(s, 8, 6)"),
    same("concat(k, '-', s)", "k || '-' || s"),
    same("concat_ws('-', k, s)", "concat_ws('-', k, s)"),
    same("replace(s, 'bank', 'shop')", "replace(s, 'bank', 'shop')"),
    same("lpad(n, 8, '0')", "lpad(n, 8, '0')"),
    same("instr(s, 'number')", "strpos(s, 'number')").because("counts characters, not bytes"),
    same("startswith(k, 'key-1')", "starts_with(k, 'key-1')"),
    same("initcap(s)", "initcap(s)"),
    same("reverse(k)", "reverse(k)"),
    same("translate(s, 'abc', 'xyz')", "translate(s, 'abc', 'xyz')").because("each character goes through a table"),
    same("split(g, ',')", "string_to_array(g, ',')").because("the separator is a regular expression"),
    same("regexp_replace(s, '[0-9]+', '#')", "regexp_replace(s, '[0-9]+', '#', 'g')"),
    like("regexp_extract(s, 'number ([0-9]+)', 1)", "regexp_match(s, 'number ([0-9]+)')"),
    same("ascii(k)", "ascii(k)"),
    like("base64(cast(k AS binary))", "encode(k, 'base64')"),
    same("repeat(k, 2)", "repeat(k, 2)"),
    // Times.
    same("year(ts)", "date_part('year', ts)"),
    same("month(dt)", "date_part('month', dt)"),
    same("hour(ts)", "date_part('hour', ts)"),
    same("date_trunc('HOUR', ts)", "date_trunc('hour', ts)"),
    same("date_trunc('MONTH', ts)", "date_trunc('month', ts)"),
    same("date_format(ts, 'yyyy-MM-dd HH:mm')", "to_char(ts, '%Y-%m-%d %H:%M')"),
    same("from_unixtime(l)", "to_char(to_timestamp_seconds(l), '%Y-%m-%d %H:%M:%S')"),
    same("unix_timestamp(ts)", "CAST(date_part('epoch', ts) AS bigint)"),
    same("to_timestamp(st, 'yyyy-MM-dd HH:mm:ss')", "to_timestamp_micros(st, '%Y-%m-%d %H:%M:%S')"),
    same("to_date(st)", "CAST(st AS date)"),
    same("date_add(dt, 7)", "dt + INTERVAL '7 days'"),
    like("datediff(dt, DATE '2000-01-01')", "dt - DATE '2000-01-01'").because("a constant is spread over the rows"),
    same("ts + INTERVAL '1' HOUR", "ts + INTERVAL '1 hour'"),
    same("add_months(dt, 3)", "dt + INTERVAL '3 months'"),
    // Hashes.
    same("md5(k)", "md5(k)"),
    same("sha2(k, 256)", "encode(sha256(k), 'hex')"),
    like("xxhash64(k)", "md5(k)"),
    like("hash(i)", "md5(n)"),
    // Arrays, structs, JSON.
    same("size(a)", "CAST(cardinality(a) AS int)"),
    same("array_contains(a, 5)", "array_has(a, 5)").because("NULL where an item is NULL and none is equal"),
    same("sort_array(a)", "array_sort(a)").because("NULL first, -0.0 equals 0.0"),
    same("array_distinct(a)", "array_distinct(a)"),
    like("array(i, j)", "make_array(i, j)"),
    like("named_struct('x', i, 'y', k)", "named_struct('x', i, 'y', k)"),
    like("array_join(a, ',')", "array_to_string(a, ',')"),
    like("get_json_object(js, '$.a')", "regexp_match(js, '\"a\":([0-9]+)')"),
    like("from_json(js, 'a int, b string')", "regexp_match(js, '\"a\":([0-9]+),\"b\":\"([^\"]*)\"')"),
    like("to_json(named_struct('x', i, 'y', k))", "concat('{\"x\":', i, ',\"y\":\"', k, '\"}')")
        .because("JSON of any type, escaped as Jackson does"),
    // Aggregates by key.
    total("count(*)", "count(*)"),
    total("sum(d)", "sum(d)"),
    total("sum(i)", "sum(i)"),
    total("sum(l)", "sum(l)"),
    total("sum(m)", "sum(m)"),
    total("avg(d)", "avg(d)"),
    total("avg(i)", "avg(i)"),
    total_like("avg(m)", "avg(m)"),
    total("min(i)", "min(i)"),
    total("max(s)", "max(s)"),
    total("count(DISTINCT j)", "count(DISTINCT j)"),
    total("stddev(d)", "stddev(d)"),
    total("variance(d)", "var(d)"),
    total("corr(d, e)", "corr(d, e)"),
    total("bool_and(b)", "bool_and(b)"),
    total_like("collect_list(i)", "array_agg(i)"),
    total_like("collect_set(j)", "array_agg(DISTINCT j)")
        .because("one accumulator for each group, which leaves NULL out and keeps the order"),
    total("count(*) FILTER (WHERE i > 0)", "count(*) FILTER (WHERE i > 0)"),
    total("count_if(i > 0)", "count(*) FILTER (WHERE i > 0)"),
    total_like("first(i)", "first_value(i)"),
    total_like("max_by(s, l)", "last_value(s ORDER BY l)").because("keeps values of any type"),
    total_like("approx_count_distinct(n)", "approx_distinct(n)"),
    total_like("percentile(d, 0.5)", "median(d)").because("the whole list is sorted, the relative picks the middle"),
    total_like("percentile_approx(d, 0.5)", "approx_percentile_cont(d, 0.5)"),
    total_like("listagg(k, ',')", "string_agg(k, ',')").because("the list is kept in order until it is whole"),
];
