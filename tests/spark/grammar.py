"""The grammar of `typed.py`: columns, literals, and a template for every function and operator, by the type it gives.

Types: TI tinyint, SI smallint, I int, L bigint, F float, D double, M decimal(12,2), W decimal(38,10), S string, B boolean,
BIN binary, DT date, TS timestamp, NTZ timestamp_ntz, YM and DS intervals, AI array<int>, AS array<string>, MP map<string,int>,
ST struct<a:int,b:string>. In a template {N} is any number, {T} one type drawn for the whole template, {Q} the same of types
with an order, {K} a small whole number. The type ? is not nested again.
"""

NUMBERS = ["TI", "SI", "I", "L", "F", "D", "M", "W"]
ORDERED = NUMBERS + ["S", "B", "BIN", "DT", "TS", "NTZ"]
ANY = ORDERED + ["AI", "AS", "ST"]

TYPES = {
    "TI": "tinyint", "SI": "smallint", "I": "int", "L": "bigint", "F": "float", "D": "double", "M": "decimal(12,2)",
    "W": "decimal(38,10)", "S": "string", "B": "boolean", "BIN": "binary", "DT": "date", "TS": "timestamp",
    "NTZ": "timestamp_ntz", "YM": "interval year to month", "DS": "interval day to second", "AI": "array<int>",
    "AS": "array<string>", "MP": "map<string,int>", "ST": "struct<a:int,b:string>",
}  # fmt: skip

# Values of columns: SQL, extremes among them.
VALUES = {
    "TI": "0Y 1Y -1Y 5Y 17Y 127Y -128Y".split(),
    "SI": "0S 1S -7S 300S 32767S -32768S".split(),
    "I": "0 1 -1 2 3 7 10 -25 1000 65536 2147483647 -2147483648 1767225600".split(),
    "L": "0L 1L -1L 5L 100L 86400L 1767225600L 9223372036854775807L -9223372036854775808L 4294967296L".split(),
    "F": ["0.0F", "-0.0F", "1.5F", "0.1F", "-2.5F", "1e10F", "cast(3.4028234663852886E38 AS float)", "cast(1.4E-45 AS float)", "cast('NaN' AS float)", "cast('-Infinity' AS float)"],
    "D": ["0.0D", "-0.0D", "1.5D", "0.1D", "2.5D", "-2.5D", "0.5D", "123456.789D", "1e10D", "1e21D", "1.5e-7D", "1.7976931348623157E308D",
          "4.9E-324D", "cast('NaN' AS double)", "cast('Infinity' AS double)", "cast('-Infinity' AS double)", "9007199254740993D"],
    "M": "0.00 0.01 1.50 -1.50 2.50 12.34 -20.25 9999999999.99 -9999999999.99 100.00 1.005".split(),
    "W": ["0", "1.5", "-0.0000000001", "12345678901234567890.1234567890", "9999999999999999999999999999.9999999999",
          "-9999999999999999999999999999.9999999999", "2.5", "100"],
    "S": ["", "a", "abc", "ABC", "Hello World", "Straße", "日本語", "😀 ok", "  padded  ", "12", "-7", " 8 ", "1.5", "1e3", "true", "no",
          "2026-01-05", "2026-01-05 10:11:12.5", "a,b,c", "a_b%c", "x=1;y=2", "A1b2C3", "é", "e\u0301", "{\"a\":1,\"b\":[1,2]}", "NaN", "SGVsbG8=",
          "616263", "İstanbul", "ΣΊΣΥΦΟΣ", "z" * 30, "https://u:p@h.org:80/a/b?x=1&y=2#f"],
    "B": ["true", "false"],
    "BIN": ["X''", "X'61'", "X'616263'", "X'00FF80'", "X'E697A5'", "X'C3'"],
    "DT": ["1970-01-01", "1969-12-31", "2026-01-05", "2024-02-29", "2000-02-29", "1900-02-28", "2025-12-31", "1582-10-04", "1582-10-15",
           "0001-01-01", "9999-12-31", "2026-03-31", "2023-01-01", "2020-12-28"],
    "TS": ["1970-01-01 00:00:00", "1969-12-31 23:59:59.999999", "2026-01-05 10:11:12.345678", "2024-02-29 12:00:00", "2026-03-29 01:30:00",
           "2025-11-02 06:30:00.5", "1582-10-04 12:00:00", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "1900-01-01 00:00:00.001",
           "2026-12-31 23:59:60", "2038-01-19 03:14:08"],
    "YM": ["0-0", "1-2", "-1-2", "0-11", "100-0", "178956970-7"],
    "DS": ["0 00:00:00", "1 02:03:04.567891", "-1 02:03:04", "0 00:00:00.000001", "365 00:00:00", "-0 23:59:59.999999", "106751991 04:00:54.775807"],
    "AI": ["array()", "array(1)", "array(1,2,3)", "array(3,1,NULL,1)", "array(NULL)", "array(-5,2147483647)", "array(2,2,2)"],
    "AS": ["array()", "array('a')", "array('b','a',NULL,'')", "array('é','日本','a')", "array('x','x')", "array('10','9')"],
    "MP": ["map()", "map('a',1)", "map('a',1,'b',NULL)", "map('k',-3,'',5)"],
    "ST": ["named_struct('a',1,'b','x')", "named_struct('a',NULL,'b','')", "named_struct('a',-5,'b',NULL)", "named_struct('a',1,'b','w')"],
}  # fmt: skip
COLUMNS = {kind: [f"{kind.lower()}{i}" for i in range(2)] for kind in TYPES}
SMALL = ["0", "1", "2", "3", "-1", "5", "10", "cast(ti0 AS int)", "(i0 % 9)"]
FORMATS = ["'yyyy-MM-dd'", "'dd/MM/yyyy HH:mm:ss'", "'yyyyMMdd'", "'MMM d, yyyy'", "'EEEE'", "'HH:mm:ss.SSSSSS'", "'D'", "'hh:mm a'", "'QQQ yyyy'", "'yy-M-d H:m:s'"]
ZONES = ["'UTC'", "'Europe/Moscow'", "'America/New_York'", "'Asia/Kolkata'", "'+05:30'", "'Australia/Lord_Howe'"]
UNITS = ["YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND"]
PATTERNS = ["'[a-z]+'", "'(\\\\w)(\\\\d)?'", "'a|b'", "'^.'", "','", "'[^0-9]'", "'é'", "'\\\\s+'"]

# result type: templates, one per `;;`
TEMPLATES = {
    "?": """
        {N} + {N};; {N} - {N};; {N} * {N};; {N} / {N};; {N} % {N};; pmod({N}, {N});; mod({N}, {N});; -{N};; abs({N});; +{N};; positive({N});; negative({N})
        try_add({N}, {N});; try_subtract({N}, {N});; try_multiply({N}, {N});; try_divide({N}, {N});; try_mod({N}, {N})
        {N} + {S};; {S} * {N};; {S} / {N};; {S} - {S};; {M} + {W};; {W} * {W};; {M} / {W};; {W} - {I};; {M} * {M} * {M};; {W} / {L};; {M} % {W}
        round({N});; round({N}, {K});; round({M}, 1);; round({D}, 2);; round({W}, 3);; bround({N});; bround({D}, 1);; bround({M}, -1)
        ceil({N});; floor({N});; ceil({W}, 2);; floor({D}, 1);; ceil({M}, -1);; greatest({N}, {N}, {N});; least({N}, {N})
        coalesce({N}, {N});; nvl({N}, {N});; if({B}, {N}, {N});; CASE WHEN {B} THEN {N} WHEN {B} THEN {N} ELSE {N} END;; ifnull({N}, {N});; nvl2({T}, {N}, {N})
        nullif({N}, {N});; zeroifnull({N});; nullifzero({N});; greatest({S}, {DT});; if({B}, {DT}, {TS});; coalesce({DT}, {TS});; if({B}, {S}, {N})
        array({N}, {N});; array({DT}, {TS});; map({S}, {N}, 'zz', {N});; struct({N}, {S});; named_struct('x', {T}, 'y', {N});; array({AI}, {AI});; arrays_zip({AI}, {AS})
        {ST};; map_entries({MP});; map_from_arrays(array('x','y'), array({N}, {N}));; {TS} - {TS};; {DT} - {DT};; {TS} - {DT};; {NTZ} - {NTZ}
        transform({AI}, x -> x * {N});; transform({AS}, x -> concat(x, {S}));; transform({AI}, (x, i) -> x + i);; zip_with({AI}, {AI}, (x, y) -> x + y)
        map_zip_with({MP}, {MP}, (k, a, b) -> coalesce(a, 0) - coalesce(b, 0));; transform_values({MP}, (k, v) -> concat(k, v));; transform_keys({MP}, (k, v) -> upper(k))
        aggregate({AI}, 0L, (s, x) -> s + x);; reduce({AI}, 1.5D, (s, x) -> s + x, s -> s / 2);; array_max({AS});; array_repeat({N}, 2);; flatten(array({AI}, {AI}))
        cast({AI} AS array<string>);; cast({ST} AS struct<x:string,y:string>);; cast({MP} AS map<string,double>);; from_json({S}, 'a int, b array<int>');; from_csv({S}, 'a string, b int')
        str_to_map({S});; str_to_map({S}, ';', '=');; sequence({DT}, date_add({DT}, 2));; sequence({K}, {K});; sequence(1, {K}, 2);; sentences({S});; split({S}, {P}, {K})
        {YM} * {K};; {DS} * {K};; {YM} / 3;; {DS} / 7;; {DS} * 1.5;; {YM} * {D};; -{YM};; -{DS};; abs({YM});; abs({DS});; make_interval({K}, {K}, 0, {K}, 1, 2, 3.5)
        get_json_object({S}, '$.a');; sort_array(array({ST}, {ST}));; array_distinct({AI});; map_filter({MP}, (k, v) -> v > 0);; array_sort({AI}, (a, b) -> b - a)
        extract(SECOND FROM {TS});; date_part('seconds', {TS});; extract(DAY FROM {DS});; extract(MONTH FROM {YM});; extract(SECOND FROM {DS});; extract(HOUR FROM {DS})
        element_at(array({N}, {N}), 1);; get(array({D}, {D}), {K});; sign({N});; sign({DS});; width_bucket({N}, 0, 10, 4);; try_to_number({S}, '99.9')
    """,
    "TI": "cast({N} AS tinyint);; try_cast({N} AS tinyint);; try_cast({S} AS tinyint);; cast({B} AS tinyint);; ~{TI};; {TI} & {TI};; {TI} | {TI};; coalesce({TI}, {TI});; shiftright({TI}, 1)",
    "SI": "cast({N} AS smallint);; try_cast({N} AS smallint);; cast({S} AS smallint);; {SI} ^ {SI};; nullif({SI}, {SI});; cast({TI} AS smallint)",
    "I": """
        cast({N} AS int);; try_cast({N} AS int);; try_cast({S} AS int);; cast({S} AS int);; cast({B} AS int);; int({M});; try_cast({D} AS int);; {I} + {I};; {I} - {TI};; {I} * {SI};; {I} & {I};; {I} | {SI};; {I} ^ {I};; ~{I}
        shiftleft({I}, {K});; shiftright({I}, {K});; shiftrightunsigned({I}, {K});; {I} << {K};; {I} >> {K};; {I} >>> {K};; bit_count({N2});; length({S});; length({BIN});; char_length({S})
        octet_length({S});; bit_length({S});; bit_length({BIN});; ascii({S});; instr({S}, {S});; locate({S}, {S});; locate('a', {S}, {K});; position({S}, {S});; levenshtein({S}, {S});; levenshtein({S}, {S}, 2);; find_in_set({S}, 'a,abc,,12')
        regexp_count({S}, {P});; regexp_instr({S}, {P});; year({DT});; year({TS});; month({DT});; day({TS});; dayofmonth({DT});; hour({TS});; minute({TS});; second({TS});; quarter({DT});; dayofweek({DT});; weekday({DT});; dayofyear({DT})
        weekofyear({DT});; extract(YEAR FROM {TS});; extract(WEEK FROM {DT});; extract(DOW FROM {TS});; extract(YEAROFWEEK FROM {DT});; date_part('month', {DT});; date_part('doy', {TS});; datediff({DT}, {DT});; datediff({TS}, {DT});; date_diff({DT}, {DT})
        unix_date({DT});; size({AI});; cardinality({MP});; array_size({AS});; {AI}[{K}];; {AI}[0];; element_at({AI}, {K});; try_element_at({AI}, {K});; get({AI}, {K});; {MP}['a'];; element_at({MP}, {S});; try_element_at({MP}, 'k');; {ST}.a
        array_max({AI});; array_min({AI});; aggregate({AI}, 0, (s, x) -> s + coalesce(x, 0));; hash({T});; hash({N}, {S}, {DT});; hash({TS}, {AI}, {ST});; json_array_length({S});; hour({NTZ});; greatest({I}, {I});; least({I}, {TI})
        CASE {I} WHEN 1 THEN 10 WHEN {I} THEN 20 ELSE {I} END;; if({B}, {I}, NULL);; nvl({I}, 0);; coalesce({I}, -1);; decode({I}, 1, 10, 2, 20, 0);; abs({I});; pmod({I}, 7);; round({I}, -1);; array_size(array_distinct({AI}))
    """,
    "L": """
        cast({N} AS bigint);; try_cast({N} AS bigint);; try_cast({S} AS bigint);; cast({S} AS bigint);; cast({TS} AS bigint);; {L} + {I};; {L} * {I};; {N3} div {N3};; {L} % {I};; {L} & {I};; ceil({D});; floor({F});; ceil({I});; unix_timestamp({TS})
        unix_timestamp({DT});; unix_timestamp({S}, 'yyyy-MM-dd');; to_unix_timestamp({S}, 'yyyy-MM-dd HH:mm:ss.S');; unix_seconds({TS});; unix_millis({TS});; unix_micros({TS});; timestampdiff({U}, {TS}, {TS});; datediff({U}, {DT}, {TS});; xxhash64({T})
        xxhash64({N}, {S}, {TS}, {AI});; crc32({S});; crc32({BIN});; array_position({AI}, {I});; array_position({AS}, {S});; shiftleft({L}, {K});; shiftright({L}, {K});; shiftrightunsigned({L}, {K});; abs({L});; coalesce({L}, {I}, {SI})
        width_bucket({D}, -10, 10, 5);; bitmap_bucket_number({I});; bitmap_bit_position({I});; bitmap_count({BIN});; factorial({K});; -{L};; {L} - {L}
    """,
    "F": "cast({N} AS float);; try_cast({S} AS float);; {F} + {F};; {F} * {TI};; {F} - {F};; cast({S} AS float);; coalesce({F}, {F});; -{F};; abs({F});; greatest({F}, {F})",
    "D": """
        cast({N} AS double);; try_cast({S} AS double);; cast({S} AS double);; cast({TS} AS double);; {D} + {N};; {D} - {N};; {D} * {N};; {D} / {N};; {D} % {D};; {I} / {I};; {L} / {TI};; sqrt({N});; cbrt({N});; exp({N});; expm1({N});; ln({N});; log({N});; log10({N});; log2({N})
        log1p({N});; log({D}, {N});; log(2, {N});; pow({N}, {N});; power({D}, 2);; sin({D});; cos({D});; tan({D});; cot({D});; sec({D});; csc({D});; asin({N});; acos({N});; atan({N});; atan2({N}, {N});; sinh({D});; cosh({D});; tanh({N});; asinh({N});; acosh({N});; atanh({N});; hypot({N}, {N})
        degrees({N});; radians({N});; rint({N});; signum({N});; nanvl({D}, {D});; nanvl({F}, {D});; e();; pi() * {I};; months_between({TS}, {TS});; months_between({DT}, {TS}, false);; abs({D});; -{D};; round({D});; round({D}, {K});; bround({D}, 2);; coalesce({D}, {F});; greatest({D}, {F}, {I})
        jaro_winkler_similarity({S}, {S});; try_divide({I}, {I});; try_divide({D}, {N});; try_add({D}, {D});; array_max(array({D}, {D}, {D}));; if({B}, {D}, {I});; nullif({D}, {D})
    """,
    "M": "cast({N} AS decimal(12,2));; try_cast({N} AS decimal(12,2));; try_cast({S} AS decimal(12,2));; coalesce({M}, {M});; nullif({M}, {M});; abs({M});; -{M};; cast({S} AS decimal(12,2));; greatest({M}, {M});; if({B}, {M}, {M})",
    "W": "cast({N} AS decimal(38,10));; try_cast({S} AS decimal(38,10));; coalesce({W}, {W});; try_cast({D} AS decimal(38,10));; abs({W});; if({B}, {W}, {W})",
    "S": """
        cast({T} AS string);; string({N});; cast({YM} AS string);; cast({DS} AS string);; cast({MP} AS string);; cast({TS} AS string);; cast({BIN} AS string);; {T2}::string;; upper({S});; lower({S});; ucase({S});; lcase({S});; initcap({S});; trim({S});; ltrim({S});; rtrim({S});; btrim({S});; btrim({S}, 'ac ')
        trim(BOTH 'a' FROM {S});; trim(LEADING {S} FROM {S});; trim(TRAILING 'c' FROM {S});; substring({S}, {K}, {K});; substring({S}, {I});; substr({S}, {K});; substring({S} FROM 2 FOR 2);; left({S}, {K});; right({S}, {K});; concat({S}, {S});; concat({S}, {N});; concat({S}, {DT}, {B});; {S} || {T2};; concat_ws(',', {S}, {S})
        concat_ws('-', {AS}, {S});; concat_ws({S}, 'a', {S});; replace({S}, {S}, {S});; replace({S}, 'a');; translate({S}, 'abcé', '12');; reverse({S});; repeat({S}, {K2});; lpad({S}, {K}, '*');; rpad({S}, {K}, 'xy');; lpad({S}, 4);; rpad({S}, 5, {S});; split_part({S}, ',', {K});; split_part({S}, {S}, 1);; regexp_replace({S}, {P}, '#')
        regexp_replace({S}, '(\\\\w)(\\\\w)', '$2$1');; regexp_extract({S}, {P}, 0);; regexp_extract({S}, '(\\\\w)(\\\\w)', 2);; regexp_substr({S}, {P});; chr({L});; char({I});; base64({BIN});; base64(cast({S} AS binary));; hex({L});; hex({S});; hex({BIN});; bin({L});; conv({S}, 10, 16);; conv({S}, 16, 10);; conv({I}, 10, 2);; conv({S}, 36, -8)
        md5({S});; md5({BIN});; sha1({S});; sha({BIN});; sha2({S}, 256);; sha2({S}, 512);; sha2({BIN}, 224);; sha2({S}, 0);; soundex({S});; format_string('%s-%d', {S}, {I});; format_string('%05d|%.2f', {I}, {D});; printf('%x %o', {I}, {L});; format_string('%10s|%-5s|', {S}, {B});; format_number({D}, 2);; format_number({L}, 0);; format_number({M}, 1);; format_number({W}, 4)
        overlay({S} PLACING 'ZZ' FROM {K});; overlay({S}, {S}, 2, {K});; space({K2});; substring_index({S}, ',', {K});; substring_index({S}, {S}, 1);; elt({K}, {S}, {S}, 'z');; decode(encode({S}, 'UTF-8'), 'UTF-8');; decode(encode({S}, 'UTF-16'), 'UTF-16');; url_encode({S});; url_decode({S});; try_url_decode({S});; mask({S});; mask({S}, 'Q', 'q', 'd', 'o')
        quote({S});; to_char({M}, '999999.99');; to_char({I}, 'S9999999999');; to_char({L}, '9,999,999');; date_format({TS}, {FMT});; date_format({DT}, {FMT});; date_format({NTZ}, 'yyyy-MM-dd HH:mm:ss');; from_unixtime({L});; from_unixtime({I}, {FMT});; monthname({DT});; dayname({TS});; typeof({T});; to_json({ST});; to_json({AI});; to_json({MP});; to_json(struct({T2} AS x, {N} AS y))
        to_csv({ST});; to_csv(struct({N} AS x, {S} AS y, {DT} AS z));; array_join({AS}, ',');; array_join({AS}, '-', 'N');; {AS}[0];; element_at({AS}, {K});; try_element_at({AS}, {K});; {ST}.b;; coalesce({S}, {S});; nvl({S}, 'x');; nullif({S}, {S});; if({B}, {S}, {S});; CASE WHEN {B} THEN {S} ELSE {S} END;; decode({S}, 'a', 'x', NULL, 'y', 'z');; greatest({S}, {S});; least({S}, {S})
        parse_url({S}, 'HOST');; parse_url({S}, 'QUERY', 'x');; try_parse_url({S}, 'PATH');; get_json_object({S}, '$.b[0]');; get_json_object({S}, '$.a');; make_valid_utf8({BIN});; to_varchar({M}, '99999.9');; collation({S});; to_base32({BIN});; map_keys({MP})[0];; array_max({AS});; array_min({AS});; aggregate({AS}, '', (s, x) -> concat(s, coalesce(x, '_')))
        to_char({DT}, 'yyyy');; sha2({S}, 384);; lpad({S}, {K}, '');; initcap(lower({S}));; cast({ST} AS string);; cast({AI} AS string);; format_number({I}, 3);; format_number({D}, '#,###.##')
    """,
    "B": """
        {Q} = {Q};; {Q} <> {Q};; {Q} < {Q};; {Q} <= {Q};; {Q} > {Q};; {Q} >= {Q};; {Q} <=> {Q};; {N} = {N};; {N} < {N};; {N} >= {N};; {N} <=> {N};; {S} = {N};; {S} < {N};; {DT} < {TS};; {DT} = {S};; {TS} >= {S};; {B} AND {B};; {B} OR {B};; NOT {B};; ! {B};; {T} IS NULL;; {T} IS NOT NULL;; isnull({T});; isnotnull({T})
        {T} IS DISTINCT FROM {T};; {T} IS NOT DISTINCT FROM {T};; equal_null({T}, {T});; {B} IS TRUE;; {B} IS NOT FALSE;; {B} IS UNKNOWN;; {Q} BETWEEN {Q} AND {Q};; {N} NOT BETWEEN {N} AND {N};; {Q} IN ({Q}, {Q});; {N} IN (1, {N}, NULL);; {S} NOT IN ('a', {S});; {S} LIKE '%a%';; {S} LIKE {S};; {S} LIKE 'a\\\\_b%';; {S} NOT LIKE '_b%'
        {S} ILIKE '%A%';; {S} LIKE ANY ('a%', '%o%');; {S} LIKE ALL ('%a%', '%c');; {S} RLIKE {P};; regexp_like({S}, {P});; startswith({S}, {S});; endswith({S}, {S});; contains({S}, {S});; contains({BIN}, {BIN});; isnan({D});; isnan({F});; cast({N} AS boolean);; try_cast({S} AS boolean);; cast({S} AS boolean);; boolean({I});; array_contains({AI}, {I})
        array_contains({AS}, {S});; arrays_overlap({AI}, {AI});; exists({AI}, x -> x > {I});; forall({AI}, x -> x > {I});; exists({AS}, x -> x IS NULL);; map_contains_key({MP}, {S});; luhn_check({S});; is_valid_utf8({BIN});; {AI} = {AI};; {ST} = {ST};; {ST} < {ST};; {AI} < {AI};; ({I}, {S}) IN (({I}, {S}), (1, 'a'));; {YM} < {YM};; {DS} = {DS};; {DS} > {DS};; {NTZ} = {TS}
        if({B}, {B}, {B});; coalesce({B}, {B});; CASE WHEN {B} THEN {B} END;; bit_get({I}, 3) = 1;; getbit({L}, {K2}) = 0;; {D} = {D};; {F} = {D};; {D} > {F};; {M} = {D};; {W} > {L};; nullif({B}, {B});; nvl({B}, false);; between({I}, {I}, {I})
    """,
    "BIN": "cast({S} AS binary);; unhex({S});; try_to_binary({S}, 'hex');; to_binary({S}, 'utf-8');; encode({S}, 'UTF-8');; encode({S}, 'US-ASCII');; encode({S}, 'UTF-16BE');; concat({BIN}, {BIN});; substring({BIN}, {K}, {K});; unbase64({S});; try_to_binary({S}, 'base64');; lpad({BIN}, {K}, X'61');; rpad({BIN}, {K});; left({BIN}, 2);; cast({I} AS binary);; coalesce({BIN}, {BIN});; overlay({BIN}, {BIN}, 2, 1);; if({B}, {BIN}, {BIN});; from_base32({S});; cast({L} AS binary)",
    "DT": """
        cast({TS} AS date);; cast({S} AS date);; try_cast({S} AS date);; date({S});; to_date({S});; to_date({S}, {FMT});; try_to_date({S}, 'yyyy-MM-dd');; date_add({DT}, {K});; date_add({DT}, {I});; date_sub({DT}, {K});; {DT} + {K};; {DT} - {K};; {DT} + {YM};; {DT} - {YM};; add_months({DT}, {K});; add_months({DT}, {I});; last_day({DT});; next_day({DT}, 'Mon')
        next_day({DT}, 'Su');; next_day({DT}, {S});; trunc({DT}, 'MM');; trunc({DT}, 'YEAR');; trunc({DT}, 'week');; trunc({DT}, 'QUARTER');; trunc({DT}, {S});; make_date({K}, {K}, {K});; make_date(2024, {K2}, {K2});; date_from_unix_date({K});; date_from_unix_date({I});; coalesce({DT}, {DT});; greatest({DT}, {DT});; least({DT}, {DT});; if({B}, {DT}, {DT});; nullif({DT}, {DT});; dateadd({DT}, {K});; cast({NTZ} AS date)
    """,
    "TS": """
        cast({DT} AS timestamp);; cast({S} AS timestamp);; try_cast({S} AS timestamp);; cast({L} AS timestamp);; cast({I} AS timestamp);; try_cast({D} AS timestamp);; cast({M} AS timestamp);; to_timestamp({S});; to_timestamp({S}, 'yyyy-MM-dd HH:mm:ss[.S]');; to_timestamp({S}, {FMT});; try_to_timestamp({S}, 'yyyy-MM-dd');; date_trunc('{U}', {TS});; date_trunc('MILLISECOND', {TS});; date_trunc('MICROSECOND', {TS});; date_trunc({S}, {TS})
        {TS} + {DS};; {TS} - {DS};; {TS} + {YM};; {TS} - {YM};; {DT} + {DS};; {TS} + INTERVAL 90 MINUTES;; {TS} + INTERVAL '1 2:03:04' DAY TO SECOND;; timestampadd({U}, {K}, {TS});; dateadd({U}, {K}, {DT});; timestamp_seconds({L});; timestamp_seconds({D});; timestamp_seconds({M});; timestamp_millis({L});; timestamp_micros({L});; make_timestamp(2024, {K2}, {K2}, {K2}, {K2}, {M2});; make_timestamp({K}, 2, 3, 4, 5, 6.5, {Z})
        from_utc_timestamp({TS}, {Z});; to_utc_timestamp({TS}, {Z});; coalesce({TS}, {TS});; greatest({TS}, {TS});; if({B}, {TS}, {TS});; cast({NTZ} AS timestamp);; make_timestamp_ltz(2024, 2, {K2}, 1, 2, 3.4);; try_make_timestamp(2024, {K}, {K}, {K}, {K}, {K});; nullif({TS}, {TS});; timestamp({S})
    """,
    "NTZ": "cast({TS} AS timestamp_ntz);; cast({DT} AS timestamp_ntz);; try_cast({S} AS timestamp_ntz);; to_timestamp_ntz({S});; {NTZ} + {DS};; {NTZ} - {YM};; convert_timezone({Z}, {Z}, {NTZ});; convert_timezone('UTC', {Z}, cast({TS} AS timestamp_ntz));; make_timestamp_ntz(2024, {K2}, {K2}, 1, 2, {M2});; coalesce({NTZ}, {NTZ})",
    "YM": "make_ym_interval({K}, {K});; {YM} + {YM};; {YM} - {YM};; coalesce({YM}, {YM});; try_add({YM}, {YM});; if({B}, {YM}, {YM});; try_subtract({YM}, {YM})",
    "DS": "make_dt_interval({K}, {K}, {K}, {M2});; {DS} + {DS};; {DS} - {DS};; {TS} - {TS};; coalesce({DS}, {DS});; try_add({DS}, {DS});; if({B}, {DS}, {DS})",
    "AI": """
        array({I}, {I});; array_append({AI}, {I});; array_prepend({AI}, {I});; array_compact({AI});; array_distinct({AI});; array_except({AI}, {AI});; array_intersect({AI}, {AI});; array_union({AI}, {AI});; array_remove({AI}, {I});; array_repeat({I}, {K2});; array_insert({AI}, {K}, {I});; slice({AI}, {K}, {K2});; sort_array({AI});; sort_array({AI}, false)
        array_sort({AI});; reverse({AI});; concat({AI}, {AI});; filter({AI}, x -> x > {I});; filter({AI}, (x, i) -> i % 2 = 0);; transform({AI}, x -> coalesce(x, {I}));; sequence(1, {K2});; map_values({MP});; coalesce({AI}, {AI});; if({B}, {AI}, {AI});; flatten(array({AI}));; zip_with({AI}, {AI}, (x, y) -> greatest(x, y));; transform({AS}, x -> length(x));; array_sort({AI}, (a, b) -> CASE WHEN a < b THEN 1 WHEN a > b THEN -1 ELSE 0 END)
    """,
    "AS": "array({S}, {S});; split({S}, ',');; split({S}, {P});; map_keys({MP});; sort_array({AS});; array_distinct({AS});; array_union({AS}, {AS});; array_except({AS}, {AS});; array_remove({AS}, {S});; transform({AS}, x -> upper(x));; filter({AS}, x -> x LIKE '%a%');; regexp_extract_all({S}, {P}, 0);; regexp_extract_all({S}, '(\\\\w)(\\\\d)', 1);; concat({AS}, {AS});; reverse({AS});; array_compact({AS});; cast({AI} AS array<string>);; array_append({AS}, {S});; slice({AS}, 1, {K2});; json_object_keys({S});; array_sort({AS});; coalesce({AS}, {AS})",
    "MP": "map('x', {I});; map({S}, {I});; map_concat({MP}, map('q', {I}));; map_from_entries(array(struct('a', {I}), struct('b', {I})));; map_filter({MP}, (k, v) -> k > 'a');; transform_values({MP}, (k, v) -> v + 1);; coalesce({MP}, {MP});; if({B}, {MP}, {MP});; map_from_arrays({AS}, transform({AS}, x -> length(x)))",
    "ST": "named_struct('a', {I}, 'b', {S});; struct({I} AS a, {S} AS b);; coalesce({ST}, {ST});; if({B}, {ST}, {ST});; from_json({S}, 'a int, b string');; array({ST}, {ST})[0];; nullif({ST}, {ST})",
}  # fmt: skip


def templates():
    """(type, template) for every one."""
    found = []
    for kind, text in TEMPLATES.items():
        for line in text.strip().splitlines():
            found += [(kind, part.strip()) for part in line.split(";;") if part.strip()]
    return found
