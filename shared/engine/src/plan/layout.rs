//! The fingerprint of a source's state: what must be equal for stored state to be read.

use datafusion::arrow::datatypes::Schema;
use datafusion::physical_plan::aggregates::AggregateExec;
use sha2::{Digest, Sha256};
use tidegate_core::units::format_duration;

use crate::api::StateLayout;
use crate::state::FORMAT;
use crate::window::Shape;

/// The fingerprint over `operators`, one line each.
pub(crate) fn layout_of(operators: Vec<String>) -> StateLayout {
    let mut hash = Sha256::new();
    for line in &operators {
        hash.update((line.len() as u64).to_le_bytes());
        hash.update(line.as_bytes());
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hash.finalize()[..16]);
    StateLayout { hash: first, operators }
}

/// One line about a windowed aggregation: output, window, keys and aggregates by their SQL, and the types of the
/// stored columns. Filters and what is computed behind the aggregation do not matter.
pub(crate) fn describe(
    output: &str,
    shape: Shape,
    keys: &[String],
    aggregates: &[String],
    partial: &AggregateExec,
    state: &Schema,
) -> String {
    let text = |micros: i64| format_duration(std::time::Duration::from_micros(micros.unsigned_abs()));
    let mut size = text(shape.size);
    if !shape.is_tumbling() {
        size.push_str(&format!(" every {}", text(shape.slide)));
    }
    if shape.offset != 0 {
        size.push_str(&format!(" from {}", text(shape.offset)));
    }
    let functions = partial.aggr_expr().iter().zip(aggregates).map(|(aggregate, sql)| {
        let args: Vec<String> = aggregate
            .expressions()
            .iter()
            .map(|arg| arg.data_type(&partial.input_schema()).map_or_else(|_| "?".to_owned(), |ty| ty.to_string()))
            .collect();
        format!("{sql} ({})", args.join(", "))
    });
    let functions: Vec<String> = functions.collect();
    let columns: Vec<String> = state.fields().iter().map(|field| field.data_type().to_string()).collect();
    format!(
        "{output}: format {FORMAT}, window {size}, keys [{}], aggregates [{}], columns [{}]",
        keys.join(", "),
        functions.join(", "),
        columns.join(", ")
    )
}
