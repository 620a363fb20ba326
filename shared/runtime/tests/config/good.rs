use std::fs;
use std::time::Duration;

use super::{folder, load, with_rest};
use tidegate_core::secret::SecretRef;
use tidegate_core::types::SqlType;
use tidegate_delivery::config::{
    Auth, Batch, BodyFormat, Idempotency, Method, OnExhausted, OnReject, RestTarget, Target, Template, TemplatePart,
};
use tidegate_runtime::config::{DeadLetters, MetadataColumn, OnBadRecord, OutputScope, PipelineFile, TimestampUnit};

fn good(name: &str) -> PipelineFile {
    let text = fs::read_to_string(folder().join("good").join(name)).unwrap();
    load(&text).map_err(|errors| panic!("{errors}")).unwrap()
}

fn rest<'a>(file: &'a PipelineFile, name: &str) -> &'a RestTarget {
    match &file.targets[name] {
        Target::Rest(rest) => rest,
        Target::Lines(_) => panic!("{name} is no REST target"),
    }
}

fn text(text: &str) -> TemplatePart {
    TemplatePart::Text(text.to_owned())
}

#[test]
fn the_reference_loads_with_its_defaults() {
    let file = good("reference.yaml");
    assert_eq!((file.name.as_str(), file.report_item_failures, file.dead_letters.as_ref()), ("treasury", None, None));
    assert_eq!(file.session_time_zone, tidegate_core::Zone::UTC);
    assert!(file.warnings.is_empty(), "{}", file.render_warnings());
    let source = &file.sources[0];
    assert_eq!(
        source.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
        ["branch", "currency", "amount", "ts"]
    );
    assert_eq!(source.columns[3].timestamp_unit, Some(TimestampUnit::Seconds));
    assert_eq!(source.columns[0].timestamp_unit, None);
    let watermark = source.watermark.as_ref().unwrap();
    assert_eq!((watermark.delay, watermark.idle), (Duration::from_secs(5), Some(Duration::from_secs(60))));
    assert_eq!(file.outputs[0].scope, OutputScope::Stream);
    let target = rest(&file, "treasury_api");
    assert_eq!(target.idempotency, Idempotency::Header("Idempotency-Key".into()));
    assert_eq!(target.auth, Auth::Bearer(SecretRef::SecretsManager("treasury/token".into())));
    assert_eq!(target.promise.remembers_ids, Duration::from_secs(86_400));
    assert!(!target.promise.rejections_are_final && target.ordered && target.key.is_none());
    assert_eq!((target.retry.max_attempts, target.timeout), (10, Duration::from_secs(10)));
}

#[test]
fn every_key_arrives() {
    let file = good("every_key.yaml");
    assert!(file.warnings.is_empty(), "{}", file.render_warnings());
    let [orders, refunds] = file.sources.as_slice() else { panic!("two sources") };
    assert_eq!(orders.from.as_deref(), Some("orders"));
    assert_eq!(orders.columns[1].ty.to_string(), "struct<name:string,tags:array<string>>");
    assert_eq!(orders.columns[2].timestamp_unit, Some(TimestampUnit::Millis));
    assert_eq!(orders.columns.len(), 3, "metadata columns are not among them");
    assert_eq!(orders.metadata, MetadataColumn::ALL);
    assert_eq!(orders.partition_key, ["id"], "in the letter case of the declaration");
    assert_eq!(orders.watermark.as_ref().unwrap().column, "_arrival");
    assert_eq!((orders.on_bad_record, refunds.on_bad_record), (OnBadRecord::Skip, OnBadRecord::Fail));
    assert_eq!(refunds.columns[1].ty, SqlType::Decimal { precision: 12, scale: 2 });
    assert_eq!(file.views[0].sql.text, "select id, amount from refunds where amount > 100\n");
    let [first, second] = file.outputs.as_slice() else { panic!("two outputs") };
    assert_eq!((first.late_target.as_deref(), first.order_by.len()), (Some("late_api"), 2));
    assert_eq!(second.scope, OutputScope::Batch);
    assert_eq!(second.sql.text, "select 'it''s ${literal} eu-west-1' as c, * from big");
    assert_eq!(
        file.dead_letters,
        Some(DeadLetters::Sqs("https://sqs.eu-west-1.amazonaws.com/123456789012/dead".into()))
    );
    assert_eq!(file.report_item_failures, Some(true));
    assert_eq!(file.session_time_zone.to_string(), "Asia/Kolkata");
    assert_eq!((file.state.ring, file.state.inline_limit), (Some(32), Some(10_000)));
    let Some(Target::Rest(sorted)) = file.target_for(first, "api") else { panic!("a REST target") };
    assert_eq!(sorted.order_by, ["id", "name"]);
}

#[test]
fn every_setting_of_a_target_arrives() {
    let file = good("every_key.yaml");
    let api = rest(&file, "api");
    let url = [text("https://api.example/v1/"), TemplatePart::Column("id".into()), text("/{x}?r=eu-west-1")];
    assert_eq!(api.url, Template { parts: url.to_vec() });
    assert_eq!(api.method, Method::Patch);
    let tenant = Template { parts: vec![text("t-"), TemplatePart::Column("id".into())] };
    assert_eq!(api.headers[0], ("X-Tenant".into(), tenant));
    assert_eq!(api.headers[1], ("X-Version".into(), Template { parts: vec![text("2")] }));
    assert_eq!(api.idempotency, Idempotency::Header("X-Request-Id".into()));
    assert!(api.promise.rejections_are_final && !api.ordered);
    assert_eq!(api.batch, Batch { rows: 250, bytes: 65_536, format: BodyFormat::Ndjson });
    assert_eq!((api.concurrency, api.key.as_deref()), (4, Some(&["id".to_owned()][..])));
    assert_eq!(api.rate_limit.map(|limit| (limit.requests, limit.per)), Some((50, Duration::from_secs(2))));
    assert_eq!(api.auth, Auth::Basic { user: "me".into(), password: SecretRef::Ssm("/api/password".into()) });
    assert_eq!((api.retry.max_attempts, api.retry.max_backoff), (3, Duration::from_secs(5)));
    assert_eq!(api.success.status, [200, 201, 409]);
    assert_eq!((api.on_reject, api.on_exhausted), (OnReject::Block, OnExhausted::DeadLetter));
    assert_eq!(api.timeout, Duration::from_millis(2500));
    let late = rest(&file, "late_api");
    assert_eq!((late.batch.rows, &late.idempotency), (1, &Idempotency::BodyField("request_id".into())));
}

#[test]
fn levels_have_defaults_of_their_own() {
    let target = |lines: &str| {
        let file = load(&with_rest(&format!("      url: https://h/{{a}}\n      {lines}\n")))
            .map_err(|e| panic!("{e}"))
            .unwrap();
        (rest(&file, "t").clone(), file.render_warnings())
    };
    let (fenced, _) = target("idempotency: fenced");
    assert_eq!((fenced.idempotency, fenced.method), (Idempotency::Fenced(412), Method::Post));
    assert_eq!(target("idempotency: { fenced: 409 }").0.idempotency, Idempotency::Fenced(409));
    let (last, warnings) = target("idempotency: last_writer_wins");
    assert_eq!((last.idempotency, last.method), (Idempotency::LastWriterWins, Method::Put));
    assert_eq!((last.batch.format, last.batch.rows, warnings.as_str()), (BodyFormat::JsonObject, 1, ""));
    assert_eq!(target("idempotency: { none: at_least_once }").0.idempotency, Idempotency::None);
    let once = Idempotency::AtMostOnce { offered: false };
    assert_eq!(target("idempotency: { none: at_most_once }").0.idempotency, once);
    for (lines, warned) in [
        ("idempotency: fenced\n      rejections: final", ""),
        ("idempotency: fenced\n      remembers_ids: 1d", "no ids to remember"),
        ("idempotency: last_writer_wins\n      rejections: final", "acted on at this level"),
    ] {
        let warnings = target(lines).1;
        assert!(warnings.contains(warned) && warnings.is_empty() == warned.is_empty(), "{lines}: {warnings}");
    }
}

#[test]
fn the_environment_cannot_change_the_structure() {
    let text = with_rest("      url: https://h/${TRICKY:-x}\n");
    assert!(load(&text).is_err(), "a line break is no part of a URL");
    let text = with_rest("      url: https://h/\n").replace("select a from s", "\"select '${TRICKY}'\"");
    let file = load(&text).map_err(|errors| panic!("{errors}")).unwrap();
    assert_eq!(file.outputs[0].sql.text, "select 'a\nb: [c, d]'");
    let text = with_rest("      url: https://h/${EMPTY:-default}${EMPTY}\n");
    let file = load(&text).map_err(|errors| panic!("{errors}")).unwrap();
    assert_eq!(rest(&file, "t").url.parts, [TemplatePart::Text("https://h/default".into())]);
}

#[test]
fn slips_that_work_are_warned_of() {
    let unused = with_rest("      url: https://h/?token=x\n")
        + "  spare:\n    rest: { url: http://h/, auth: { bearer: { env: T } } }\n";
    let unused =
        unused.replace("outputs:", "  r: { format: json, columns: { b: int } }\nviews: { v: select 1 }\noutputs:");
    let file = load(&unused).map_err(|errors| panic!("{errors}")).unwrap();
    let warnings = file.render_warnings();
    for wanted in [
        "targets.spare: no output uses this target",
        "credentials travel unencrypted",
        "looks like a credential in the URL",
        "sources.s: nothing says which stream feeds this source",
        "views.v: no query mentions this view",
    ] {
        assert!(warnings.contains(wanted), "{wanted}\n{warnings}");
    }
}

#[test]
fn anchors_repeat_values() {
    let text = with_rest("      url: https://h/\n      retry: &r { max_elapsed: 5s }\n")
        + "  u:\n    rest: { url: https://i/, retry: *r }\n";
    let file = load(&text).map_err(|errors| panic!("{errors}")).unwrap();
    assert_eq!(rest(&file, "u").retry, rest(&file, "t").retry);
}
