//! Columns that targets name (url, headers, key, order_by), checked against the columns of the outputs that go there.

use tidegate_core::Error;
use tidegate_delivery::check_target;
use tidegate_delivery::config::{RestTarget, Target, Template, TemplatePart};
use tidegate_engine::OutputPlan;

use crate::config::{Mistake, PipelineFile, suggest};
use crate::pipeline::{PlannedOutput, Route};

/// Every column that is named and not there, and what else keeps rows of these columns from becoming requests.
pub(crate) fn mistakes(file: &PipelineFile, outputs: &[PlannedOutput], plans: &[OutputPlan]) -> Vec<Mistake> {
    let mut found = Vec::new();
    for (output, plan) in outputs.iter().zip(plans) {
        for (route, schema) in
            [(Some(&output.route), Some(&plan.schema)), (output.late.as_ref(), plan.late_schema.as_ref())]
        {
            let (Some(route), Some(schema)) = (route, schema) else { continue };
            let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            let missing = missing(file, &output.name, route, &known);
            if missing.is_empty()
                && let Err(error) = check_target(&route.target, &route.label, &route.key_columns, schema)
            {
                found.push(impossible(file, route, &error));
            }
            found.extend(missing);
        }
    }
    found
}

fn missing(file: &PipelineFile, output: &str, route: &Route, known: &[&str]) -> Vec<Mistake> {
    let Target::Rest(rest) = &route.target else { return Vec::new() };
    let missing =
        named(output, &route.target_name, rest).into_iter().filter(|(_, column)| !known.contains(&column.as_str()));
    missing
        .map(|(key, column)| {
            let message = format!("output '{}' has no column '{column}'", route.label);
            file.mistake(&key, message).with_help(suggest::help(&column, known))
        })
        .collect()
}

/// The columns are there, and are not what the target can take.
fn impossible(file: &PipelineFile, route: &Route, error: &Error) -> Mistake {
    let message = format!("output '{}': {}", route.label, error.message());
    let mistake = file.mistake(&format!("targets.{}.rest", route.target_name), message);
    match error.help() {
        Some(help) => mistake.with_help(help),
        None => mistake,
    }
}

/// Every column that the target names, and the key of the file where it does.
fn named(output: &str, target: &str, rest: &RestTarget) -> Vec<(String, String)> {
    let of = |key: String, template: &Template| -> Vec<(String, String)> {
        let columns = template.parts.iter().filter_map(|part| match part {
            TemplatePart::Column(name) => Some(name.clone()),
            TemplatePart::Text(_) => None,
        });
        columns.map(|column| (key.clone(), column)).collect()
    };
    let mut named = of(format!("targets.{target}.rest.url"), &rest.url);
    for (header, template) in &rest.headers {
        named.extend(of(format!("targets.{target}.rest.headers.{header}"), template));
    }
    let keys = rest.key.iter().flatten();
    named.extend(keys.map(|column| (format!("targets.{target}.rest.key"), column.clone())));
    named.extend(rest.order_by.iter().map(|column| (format!("outputs.{output}.order_by"), column.clone())));
    named
}

#[cfg(test)]
mod tests {
    use crate::{PlannedPipeline, config};

    const FILE: &str = "name: p
sources:
  events:
    format: json
    columns: { user: string, amount: double, ts: timestamp }
    watermark: { column: ts, delay: 5s }
    partition_key: [user]
outputs:
  sums:
    query: SELECT window.start AS start, user, sum(amount) AS total FROM events GROUP BY window(ts, '1 minute'), user
    target: api
    late: { target: late }
    order_by: [total]
targets:
  api:
    rest:
      url: https://h/{user}
      headers: { X-Start: '{start}' }
      key: [user]
  late:
    rest:
      url: https://h/late/{amount}
";

    fn mistakes(change: &[(&str, &str)]) -> String {
        let mut text = FILE.to_owned();
        for (from, to) in change {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let file = config::load("pipeline.yaml", &text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
        PlannedPipeline::new(file, None).err().map(|errors| errors.to_string()).unwrap_or_default()
    }

    #[test]
    fn columns_that_are_there_are_fine() {
        assert_eq!(mistakes(&[]), "");
    }

    #[test]
    fn all_at_once_with_place_and_suggestion() {
        let found = mistakes(&[
            ("h/{user}", "h/{usr}"),
            ("'{start}'", "'{strat}'"),
            ("key: [user]", "key: [User]"),
            ("order_by: [total]", "order_by: [amount]"),
            ("late/{amount}", "late/{total}"),
        ]);
        for words in [
            "outputs.sums.order_by: output 'sums' has no column 'amount'",
            "targets.api.rest.url: output 'sums' has no column 'usr'",
            "did you mean 'user'? Known here: start, user, total",
            "targets.api.rest.headers.X-Start: output 'sums' has no column 'strat'",
            "targets.api.rest.key: output 'sums' has no column 'User'",
            "targets.late.rest.url: output 'sums.late' has no column 'total'",
        ] {
            assert!(found.contains(words), "'{words}' is missing in:\n{found}");
        }
        assert_eq!(found.matches("pipeline.yaml:").count(), 5, "{found}");
    }

    #[test]
    fn what_the_columns_cannot_become_is_told_before_the_first_row() {
        let nested =
            mistakes(&[("user, sum(amount) AS total", "user, collect_list(amount) AS total"), ("{user}", "{total}")]);
        assert!(nested.contains("targets.api.rest") && nested.contains("column 'total' is a"), "{nested}");
    }
}
