//! Aggregates of two columns: correlation, covariance, linear regression.
//!
//! The sums are taken in Spark's steps (`Covariance`, `PearsonCorrelation`, after Chan, Golub and LeVeque, "Updating
//! formulae and a pairwise algorithm for computing sample variances", 1979), so that infinite numbers and NaN give what
//! they give there; DataFusion's give NULL or infinity for some of them.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::counts;

/// What is made of the sums. The regression is of the first column (dependent) on the second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// Pearson's coefficient.
    Correlation,
    /// Over all rows.
    CovariancePopulation,
    /// Over all rows but one.
    CovarianceSample,
    /// The share of the variance that the line explains.
    Determination,
    /// The slope of the line.
    Slope,
    /// Where the line begins.
    Intercept,
    /// The squares of the second column's distances from their mean.
    SquaresOfSecond,
    /// The squares of the first column's.
    SquaresOfFirst,
    /// The products of both.
    Products,
}

/// All of them, by name.
pub const ALL: &[(&str, Relation)] = &[
    ("corr", Relation::Correlation),
    ("covar_pop", Relation::CovariancePopulation),
    ("covar_samp", Relation::CovarianceSample),
    ("regr_r2", Relation::Determination),
    ("regr_slope", Relation::Slope),
    ("regr_intercept", Relation::Intercept),
    ("regr_sxx", Relation::SquaresOfSecond),
    ("regr_syy", Relation::SquaresOfFirst),
    ("regr_sxy", Relation::Products),
];

/// An aggregate of two columns of doubles; rows where one of them is NULL do not count.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Pairs {
    name: &'static str,
    relation: Relation,
    signature: Signature,
}

impl Pairs {
    /// The aggregate of a name in [`ALL`].
    pub fn new((name, relation): (&'static str, Relation)) -> Self {
        let signature = Signature::exact(vec![DataType::Float64; 2], Volatility::Immutable);
        Self { name, relation, signature }
    }
}

impl AggregateUDFImpl for Pairs {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup { relation: self.relation, sums: Sums::default() }))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups { relation: self.relation, sums: vec![] }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |part: &str| Arc::new(Field::new(format!("{}[{part}]", args.name), DataType::Float64, true));
        Ok(PARTS.map(field).to_vec())
    }
}

const PARTS: [&str; 6] = ["count", "mean_first", "mean_second", "products", "squares_first", "squares_second"];

/// Count, means, and the sums of products and squares of the distances from them.
#[derive(Clone, Copy, Debug, Default)]
struct Sums([f64; PARTS.len()]);

impl Sums {
    fn add(&mut self, x: f64, y: f64) {
        let Self([n, mean_x, mean_y, products, squares_x, squares_y]) = *self;
        let n = n + 1.0;
        let (dx, dy) = (x - mean_x, y - mean_y);
        let (mean_x, mean_y) = (mean_x + dx / n, mean_y + dy / n);
        let (rest_x, rest_y) = (x - mean_x, y - mean_y);
        *self = Self([n, mean_x, mean_y, products + dx * rest_y, squares_x + dx * rest_x, squares_y + dy * rest_y]);
    }

    fn merge(&mut self, Self([n2, mean_x2, mean_y2, products2, squares_x2, squares_y2]): Self) {
        let Self([n1, mean_x, mean_y, products, squares_x, squares_y]) = *self;
        if n2 == 0.0 {
            return;
        }
        let n = n1 + n2;
        let (dx, dy) = (mean_x2 - mean_x, mean_y2 - mean_y);
        let (part_x, part_y) = (dx / n, dy / n);
        *self = Self([
            n,
            mean_x + part_x * n2,
            mean_y + part_y * n2,
            products + products2 + dx * part_y * n1 * n2,
            squares_x + squares_x2 + dx * part_x * n1 * n2,
            squares_y + squares_y2 + dy * part_y * n1 * n2,
        ]);
    }

    /// NULL where there are too few rows, or where what is divided by is 0.
    fn result(self, relation: Relation) -> Option<f64> {
        let Self([n, mean_x, mean_y, products, squares_x, squares_y]) = self;
        if n == 0.0 {
            return None;
        }
        // From an infinite mean nothing is a distance. Spark says so wherever it merges sums, however the rows are cut.
        let measured = |mean: f64, sum: f64| if mean.is_finite() { sum } else { f64::NAN };
        let products = measured(mean_x, measured(mean_y, products));
        let (squares_x, squares_y) = (measured(mean_x, squares_x), measured(mean_y, squares_y));
        let slope = (squares_y != 0.0).then(|| products / squares_y);
        match relation {
            Relation::Correlation => {
                let spread = (squares_x * squares_y).sqrt();
                (n > 1.0 && spread != 0.0).then(|| products / spread)
            }
            Relation::CovariancePopulation => Some(products / n),
            Relation::CovarianceSample => (n > 1.0).then(|| products / (n - 1.0)),
            Relation::Determination => slope.map(|_| match squares_x {
                0.0 => 1.0,
                _ => (products / (squares_x * squares_y).sqrt()).powi(2),
            }),
            Relation::Slope => slope,
            Relation::Intercept => slope.map(|slope| mean_x - slope * mean_y),
            Relation::SquaresOfSecond => Some(squares_y),
            Relation::SquaresOfFirst => Some(squares_x),
            Relation::Products => Some(products),
        }
    }
}

/// The parts in a row of a state.
fn sums_of(states: &[ArrayRef], row: usize) -> Sums {
    Sums(std::array::from_fn(|part| states[part].as_primitive::<Float64Type>().value(row)))
}

/// The rows where both columns have a value, with these.
fn given(values: &[ArrayRef]) -> impl Iterator<Item = (usize, f64, f64)> + '_ {
    let (x, y) = (values[0].as_primitive::<Float64Type>(), values[1].as_primitive::<Float64Type>());
    let both = move |row: &usize| x.is_valid(*row) && y.is_valid(*row);
    (0..x.len()).filter(both).map(move |row| (row, x.value(row), y.value(row)))
}

/// The columns of a state, a row for each sum.
fn columns(sums: &[Sums]) -> Vec<ArrayRef> {
    let part = |part: usize| Arc::new(sums.iter().map(|sums| sums.0[part]).collect::<Float64Array>()) as ArrayRef;
    (0..PARTS.len()).map(part).collect()
}

#[derive(Debug)]
struct OneGroup {
    relation: Relation,
    sums: Sums,
}

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        given(values).for_each(|(_, x, y)| self.sums.add(x, y));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        (0..states[0].len()).for_each(|row| self.sums.merge(sums_of(states, row)));
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.sums.result(self.relation)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(self.sums.0.iter().map(|sum| ScalarValue::Float64(Some(*sum))).collect())
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

#[derive(Debug)]
struct Groups {
    relation: Relation,
    sums: Vec<Sums>,
}

impl Groups {
    fn grow(&mut self, groups: usize) {
        self.sums.resize(groups.max(self.sums.len()), Sums::default());
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        count: usize,
    ) -> Result<()> {
        self.grow(count);
        for (row, x, y) in given(values).filter(|(row, ..)| counts(filter, *row)) {
            self.sums[groups[row]].add(x, y);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], count: usize) -> Result<()> {
        self.grow(count);
        groups.iter().enumerate().for_each(|(row, group)| self.sums[*group].merge(sums_of(states, row)));
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let sums = emit.take_needed(&mut self.sums);
        Ok(Arc::new(sums.into_iter().map(|sums| sums.result(self.relation)).collect::<Float64Array>()))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(columns(&emit.take_needed(&mut self.sums)))
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut sums = vec![Sums::default(); values[0].len()];
        given(values).filter(|(row, ..)| counts(filter, *row)).for_each(|(row, x, y)| sums[row].add(x, y));
        Ok(columns(&sums))
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<Sums>()
    }
}
