//! How fast rows become requests: `cargo run --release -p tidegate-delivery --example json_rows`.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{
    ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use sha2::{Digest, Sha256};
use tidegate_core::time::SystemClock;
use tidegate_core::{Clock, Result};
use tidegate_delivery::rows_json;

const ROWS: i64 = 10_000;
const ROUNDS: u32 = 100;

#[allow(clippy::print_stdout, reason = "this is a program for people")]
fn main() -> Result<()> {
    let numbers = || 0..ROWS;
    let branches = ["Kazan", "SPB", "Novosibirsk", "Surgut"];
    let columns: [(&str, ArrayRef); 5] = [
        (
            "window_start",
            Arc::new(
                TimestampMicrosecondArray::from_iter_values(numbers().map(|i| 1_767_225_600_000_000 + i * 2_000_000))
                    .with_timezone("UTC"),
            ),
        ),
        ("branch", Arc::new(StringArray::from_iter_values(numbers().map(|i| branches[(i % 4) as usize])))),
        (
            "total",
            Arc::new(
                Decimal128Array::from_iter_values(numbers().map(|i| i128::from(i * 7919 - 5_000)).collect::<Vec<_>>())
                    .with_precision_and_scale(22, 2)
                    .unwrap_or_else(|error| panic!("{error}")),
            ),
        ),
        ("mean", Arc::new(Float64Array::from_iter_values(numbers().map(|i| i as f64 * 1.37 - 500.0)))),
        ("n", Arc::new(Int64Array::from_iter_values(numbers()))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap_or_else(|error| panic!("{error}"));
    let clock = SystemClock::default();
    let mut out = Vec::new();
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        out.clear();
        let start = clock.elapsed();
        rows_json(&batch, &mut out)?;
        best = best.min(clock.elapsed() - start);
    }
    let hash: String = Sha256::digest(&out).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let seconds = best.as_secs_f64();
    println!(
        "{:.2} M rows/s, {:.0} MB/s, sha256 {hash}",
        ROWS as f64 / seconds / 1e6,
        out.len() as f64 / seconds / 1e6
    );
    Ok(())
}
