//! Text as Java writes it, where Spark's answers depend on it.

mod big;
mod float;

pub use float::{write_f32, write_f64};
