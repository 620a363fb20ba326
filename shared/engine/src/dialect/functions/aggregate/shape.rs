//! `skewness` and `kurtosis`: moments about the mean, kept so that parts can be put together.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    /// The third moment.
    Skewness,
    /// The fourth moment, less the 3 of a normal distribution.
    Kurtosis,
}

/// The shape of a distribution.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    measure: Measure,
    signature: Signature,
}

impl Shape {
    /// The aggregate of a measure.
    pub fn new(measure: Measure) -> Self {
        Self { measure, signature: Signature::exact(vec![DataType::Float64], Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Shape {
    fn name(&self) -> &'static str {
        match self.measure {
            Measure::Skewness => "skewness",
            Measure::Kurtosis => "kurtosis",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Moments { measure: self.measure, sums: [0.0; 5] }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |part: &str| Arc::new(Field::new(format!("{}[{part}]", args.name), DataType::Float64, true));
        Ok(["count", "mean", "m2", "m3", "m4"].map(field).to_vec())
    }
}

/// Count, mean, and the sums of the second to the fourth power of the distance from the mean.
#[derive(Debug)]
struct Moments {
    measure: Measure,
    sums: [f64; 5],
}

impl Moments {
    /// One value, in the steps that Spark takes, so that the last digits are the same.
    fn add(&mut self, value: f64) {
        let [n, mean, m2, m3, m4] = self.sums;
        let n = n + 1.0;
        let delta = value - mean;
        let part = delta / n;
        let m2 = m2 + delta * (delta - part);
        let (square, part_square) = (delta * delta, part * part);
        let m3 = m3 - 3.0 * part * m2 + delta * (square - part_square);
        let m4 = m4 - 4.0 * part * m3 - 6.0 * part_square * m2 + delta * (delta * square - part * part_square);
        self.sums = [n, mean + part, m2, m3, m4];
    }

    fn merge(&mut self, [n2, mean2, b2, b3, b4]: [f64; 5]) {
        let [n1, mean1, a2, a3, a4] = self.sums;
        let n = n1 + n2;
        if n2 == 0.0 {
            return;
        }
        let delta = mean2 - mean1;
        let part = delta / n;
        let mean = mean1 + part * n2;
        let m2 = a2 + b2 + delta * part * n1 * n2;
        let m3 = a3 + b3 + part * part * delta * n1 * n2 * (n1 - n2) + 3.0 * part * (n1 * b2 - n2 * a2);
        let m4 = a4
            + b4
            + part * part * part * delta * n1 * n2 * (n1 * n1 - n1 * n2 + n2 * n2)
            + 6.0 * part * part * (n1 * n1 * b2 + n2 * n2 * a2)
            + 4.0 * part * (n1 * b3 - n2 * a3);
        self.sums = [n, mean, m2, m3, m4];
    }
}

impl Accumulator for Moments {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values[0].as_primitive::<Float64Type>().iter().flatten().for_each(|value| self.add(value));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for row in 0..states[0].len() {
            let part = |i: usize| states[i].as_primitive::<Float64Type>().value(row);
            self.merge([part(0), part(1), part(2), part(3), part(4)]);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let [n, _, m2, m3, m4] = self.sums;
        // Without any spread there is no shape.
        let value = (n > 0.0 && m2 != 0.0).then(|| match self.measure {
            Measure::Skewness => n.sqrt() * m3 / (m2 * m2 * m2).sqrt(),
            Measure::Kurtosis => n * m4 / (m2 * m2) - 3.0,
        });
        Ok(ScalarValue::Float64(value))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(self.sums.iter().map(|sum| ScalarValue::Float64(Some(*sum))).collect())
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}
