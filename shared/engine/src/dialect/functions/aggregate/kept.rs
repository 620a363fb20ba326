//! Aggregates that keep values of a group, and the limit of what they keep.
//!
//! `collect_list`, exact percentiles, `mode`, `listagg` and everything with `DISTINCT` have a state that grows with the rows
//! of a group. Each keeps [`MAX_VALUES`] values and [`MAX_BYTES`] of them at most. A group beyond that forgets its
//! values and keeps a mark, in the state too, so that the state stays small. It has no result but an error, never a
//! shorter list.
//!
//! Whether a group is beyond the limit follows from its values alone: how micro-batches are cut and where the state
//! was restored from makes no difference.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray, new_empty_array};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{filter, is_not_null};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::error::Result;
use datafusion::functions_aggregate as plain;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
};
use datafusion::scalar::ScalarValue;
use datafusion_spark::function::aggregate::collect::SparkCollectList;

use super::pairs::{self, Pairs};
use super::shape::{Measure, Shape};
use super::{collect, set, sum};
use crate::dialect::error::RowError;
use crate::dialect::functions::Takes::{Any, Text};
use crate::dialect::functions::{Call, Def, Gives};

/// How many values of a group an aggregate keeps.
pub const MAX_VALUES: usize = 100_000;

/// How many bytes the values have that an aggregate keeps of a group: a number its width, a text its length plus 4.
pub const MAX_BYTES: usize = 4 << 20;

/// The mark in front of aggregates that see each value once.
const MARK: &str = "distinct_";

/// What is planned around these aggregates: NULL from one of them means that the group is beyond the limit.
pub const FUNCTIONS: &[Def] =
    &[Def::new(&["within_limit"], &[Text, Any], Gives::Of(|types| Ok(types[1].clone())), within_limit)];

fn within_limit(call: &Call<'_>) -> Result<ArrayRef> {
    if call.args[1].null_count() > 0 {
        return Err(beyond(call.args[0].as_string::<i32>().value(0)).into());
    }
    Ok(Arc::clone(&call.args[1]))
}

fn beyond(aggregate: &str) -> RowError {
    let instead = match aggregate {
        "count(DISTINCT)" => "approx_count_distinct has no limit",
        "percentile" | "percentile_cont" | "percentile_disc" | "median" => {
            "percentile_approx keeps a summary of limited size"
        }
        _ => "group by more keys or by a shorter window, or deliver the rows and aggregate them later",
    };
    let message = format!(
        "{aggregate} keeps at most {MAX_VALUES} values and {} MiB of a group, this group has more: {instead}",
        MAX_BYTES >> 20
    );
    RowError::new("COLLECTION_SIZE_LIMIT_EXCEEDED", message)
}

/// All aggregates with the limit.
pub(super) fn all() -> Vec<AggregateUDF> {
    let lists = [
        Arc::new(AggregateUDF::from(SparkCollectList::new())),
        Arc::new(AggregateUDF::from(set::CollectSet::default())),
    ];
    let lists = lists.into_iter().map(|inner| Kept { name: inner.name().to_owned(), inner, form: Form::List });
    let distinct =
        DISTINCT.iter().map(|(name, form, inner)| Kept { name: format!("{MARK}{name}"), inner: inner(), form: *form });
    let pairs = pairs::ALL.iter().map(|pair| {
        let inner = Arc::new(AggregateUDF::from(Pairs::new(*pair)));
        Kept { name: format!("{MARK}{}", pair.0), inner, form: Form::OfSet }
    });
    lists.chain(distinct).chain(pairs).map(AggregateUDF::from).collect()
}

/// An aggregate over distinct values.
type Distinct = (&'static str, Form, fn() -> Arc<AggregateUDF>);

const DISTINCT: &[Distinct] = &[
    ("count", Form::Distinct, plain::count::count_udaf),
    ("sum", Form::OfSet, || Arc::new(AggregateUDF::from(sum::CheckedSum::default()))),
    ("avg", Form::Distinct, plain::average::avg_udaf),
    ("try_sum", Form::OfSet, || Arc::new(AggregateUDF::from(sum::TrySum::default()))),
    ("skewness", Form::OfSet, || Arc::new(AggregateUDF::from(Shape::new(Measure::Skewness)))),
    ("kurtosis", Form::OfSet, || Arc::new(AggregateUDF::from(Shape::new(Measure::Kurtosis)))),
    ("bit_xor", Form::OfSet, plain::bit_and_or_xor::bit_xor_udaf),
    ("var_samp", Form::OfSet, plain::variance::var_samp_udaf),
    ("var_pop", Form::OfSet, plain::variance::var_pop_udaf),
    ("stddev", Form::OfSet, plain::stddev::stddev_udaf),
    ("stddev_samp", Form::OfSet, plain::stddev::stddev_udaf),
    ("stddev_pop", Form::OfSet, plain::stddev::stddev_pop_udaf),
    ("regr_count", Form::OfSet, plain::regr::regr_count_udaf),
];

/// The name of `aggregate` where it sees each value once; `None` where that makes no difference.
pub(super) fn distinct_name(aggregate: &str) -> Option<String> {
    let mut names = DISTINCT.iter().map(|(name, ..)| name).chain(pairs::ALL.iter().map(|(name, _)| name));
    names.any(|name| *name == aggregate).then(|| format!("{MARK}{aggregate}"))
}

/// How an aggregate keeps values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// They are its result.
    List,
    /// It has a set of its own.
    Distinct,
    /// A set is kept in front of it.
    OfSet,
}

/// An aggregate with the limit.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Kept {
    name: String,
    inner: Arc<AggregateUDF>,
    form: Form,
}

impl Kept {
    /// What the result of a group beyond the limit is; `None`: an error at once.
    fn unknown(&self, ty: &DataType) -> Result<Option<ScalarValue>> {
        let is_null = self.form == Form::List || self.inner.name() == "count";
        if is_null { ScalarValue::try_new_null(ty).map(Some) } else { Ok(None) }
    }
}

impl AggregateUDFImpl for Kept {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let mark = Field::new(format!("{}[beyond]", args.name), DataType::Boolean, false);
        let mut fields = match self.form {
            Form::OfSet => {
                let types: Vec<DataType> = args.input_fields.iter().map(|field| field.data_type().clone()).collect();
                let item = Field::new_list_field(item_of(&types), true);
                vec![Arc::new(Field::new_list(args.name, item, true))]
            }
            form => self
                .inner
                .state_fields(StateFieldsArgs { is_distinct: args.is_distinct || form == Form::Distinct, ..args })?,
        };
        fields.push(Arc::new(mark));
        Ok(fields)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let unknown = self.unknown(args.return_type())?;
        let exact = self.form == Form::List && !args.is_distinct && self.name != "collect_set";
        let inner = match self.form {
            Form::OfSet => {
                let types: Vec<DataType> = args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
                let set = set::distinct_values(item_of(&types))?;
                let inner = self.inner.accumulator(AccumulatorArgs { is_distinct: false, ..args })?;
                Box::new(SetFirst { set, types, inner })
            }
            form => self
                .inner
                .accumulator(AccumulatorArgs { is_distinct: args.is_distinct || form == Form::Distinct, ..args })?,
        };
        let name = self.name.strip_prefix(MARK).map_or(self.name.clone(), |name| format!("{name}(DISTINCT)"));
        Ok(Box::new(Bounded { inner, exact, held: Weight::default(), is_beyond: false, unknown, name }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.name == "collect_list" && !args.is_distinct && collect::knows(args.expr_fields[0].data_type())
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(collect::Lists::new(args.expr_fields[0].data_type())))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::NotSupported
    }

    fn default_value(&self, ty: &DataType) -> Result<ScalarValue> {
        let value = self.inner.default_value(ty)?;
        if value.is_null() && self.form == Form::List { no_values(ty) } else { Ok(value) }
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }
}

/// One column as it is, several as a struct.
fn item_of(types: &[DataType]) -> DataType {
    match types {
        [one] => one.clone(),
        several => DataType::Struct(fields_of(several)),
    }
}

fn fields_of(types: &[DataType]) -> Fields {
    types.iter().enumerate().map(|(i, ty)| Field::new(format!("c{i}"), ty.clone(), true)).collect()
}

/// How much a list holds. A function of its values, not of how they lie in memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weight {
    pub(super) values: usize,
    pub(super) bytes: usize,
}

impl Weight {
    pub(super) fn is_beyond(self) -> bool {
        self.values > MAX_VALUES || self.bytes > MAX_BYTES
    }

    /// The values of some lists that are given together: values of one place in them are one value.
    fn of(columns: &[ArrayRef]) -> Result<Self> {
        let mut all = Self::default();
        for column in columns {
            all.values = all.values.max(column.len() - column.null_count());
            all.bytes += bytes_of(column)?;
        }
        Ok(all)
    }

    pub(super) fn add(&mut self, other: Self) {
        self.values += other.values;
        self.bytes += other.bytes;
    }
}

fn bytes_of(values: &ArrayRef) -> Result<usize> {
    let values = if values.null_count() > 0 { filter(values, &is_not_null(values)?)? } else { Arc::clone(values) };
    let rows = values.len();
    Ok(match values.data_type() {
        DataType::Null => 0,
        DataType::Boolean => rows,
        DataType::Utf8 => text_bytes(values.as_string::<i32>().value_offsets()) + 4 * rows,
        DataType::Binary => text_bytes(values.as_binary::<i32>().value_offsets()) + 4 * rows,
        DataType::List(_) => bytes_of(&items(values.as_list::<i32>()))? + 4 * rows,
        DataType::Map(..) => {
            let map = values.as_map();
            let (from, to) = ends(map.value_offsets());
            let entries: ArrayRef = Arc::new(map.entries().slice(from, to - from));
            bytes_of(&entries)? + 4 * rows
        }
        DataType::Struct(_) => values.as_struct().columns().iter().map(bytes_of).sum::<Result<usize>>()?,
        other => other.primitive_width().unwrap_or(16) * rows,
    })
}

fn ends(offsets: &[i32]) -> (usize, usize) {
    let at = |place: Option<&i32>| place.map_or(0, |offset| offset.unsigned_abs() as usize);
    (at(offsets.first()), at(offsets.last()))
}

fn text_bytes(offsets: &[i32]) -> usize {
    let (from, to) = ends(offsets);
    to - from
}

/// The items of all lists.
fn items(lists: &ListArray) -> ArrayRef {
    let (from, to) = ends(lists.value_offsets());
    lists.values().slice(from, to - from)
}

/// The items of all columns of lists.
fn all_items(states: &[ArrayRef]) -> Vec<ArrayRef> {
    states.iter().filter_map(|state| state.as_list_opt::<i32>()).map(items).collect()
}

/// Accumulates until the limit, then holds nothing but the mark.
#[derive(Debug)]
struct Bounded {
    inner: Box<dyn Accumulator>,
    /// Whether `inner` keeps all that it is given: then `held` is what it holds, else no less than that.
    exact: bool,
    held: Weight,
    is_beyond: bool,
    /// The result beyond the limit; `None`: an error.
    unknown: Option<ScalarValue>,
    name: String,
}

impl Bounded {
    fn hold(&mut self, more: Weight) -> Result<()> {
        self.held.add(more);
        if !self.held.is_beyond() {
            return Ok(());
        }
        let state: Vec<ArrayRef> = self.inner.state()?.iter().map(|value| value.to_array()).collect::<Result<_>>()?;
        if !self.exact {
            self.held = Weight::of(&all_items(&state))?;
            if !self.held.is_beyond() {
                // Reading a state may empty the set. Adding what it holds already changes nothing.
                return self.inner.merge_batch(&state);
            }
        }
        self.give_up(&state)
    }

    /// Forgets all values. `state` has the types of the state's columns.
    fn give_up(&mut self, state: &[ArrayRef]) -> Result<()> {
        self.is_beyond = true;
        self.inner =
            Box::new(Nothing(state.iter().map(|column| no_values(column.data_type())).collect::<Result<_>>()?));
        Ok(())
    }
}

/// One empty list; NULL of a type that is no list.
pub(super) fn no_values(ty: &DataType) -> Result<ScalarValue> {
    let DataType::List(field) = ty else { return ScalarValue::try_new_null(ty) };
    let none = new_empty_array(field.data_type());
    let list = ListArray::try_new(Arc::clone(field), OffsetBuffer::from_lengths([0]), none, None)?;
    Ok(ScalarValue::List(Arc::new(list)))
}

impl Accumulator for Bounded {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if self.is_beyond {
            return Ok(());
        }
        self.inner.update_batch(values)?;
        self.hold(Weight::of(values)?)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some((marks, states)) = states.split_last().filter(|_| !self.is_beyond) else { return Ok(()) };
        if marks.as_boolean().true_count() > 0 {
            return self.give_up(states);
        }
        self.inner.merge_batch(states)?;
        self.hold(Weight::of(&all_items(states))?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match &self.unknown {
            Some(unknown) if !self.is_beyond => {
                let value = self.inner.evaluate()?;
                // NULL is the mark: a list of no values is empty.
                if value.is_null() { no_values(&unknown.data_type()) } else { Ok(value) }
            }
            None if !self.is_beyond => self.inner.evaluate(),
            Some(unknown) => Ok(unknown.clone()),
            None => Err(beyond(&self.name).into()),
        }
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut state = self.inner.state()?;
        state.push(ScalarValue::Boolean(Some(self.is_beyond)));
        Ok(state)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.inner.size()
    }
}

/// What is left of a group beyond the limit: the state of no values.
#[derive(Debug)]
struct Nothing(Vec<ScalarValue>);

impl Accumulator for Nothing {
    fn update_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        Ok(())
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Null)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(self.0.clone())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + ScalarValue::size_of_vec(&self.0)
    }
}

/// Keeps the distinct values, and aggregates them when they are all there.
#[derive(Debug)]
struct SetFirst {
    set: Box<dyn Accumulator>,
    types: Vec<DataType>,
    inner: Box<dyn Accumulator>,
}

impl Accumulator for SetFirst {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if let [one] = values {
            return self.set.update_batch(std::slice::from_ref(one));
        }
        let rows = StructArray::try_new(fields_of(&self.types), values.to_vec(), None)?;
        self.set.update_batch(&[Arc::new(rows)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.set.merge_batch(states)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let ScalarValue::List(list) = self.set.evaluate()? else { return self.inner.evaluate() };
        let values = items(&list);
        let columns = match self.types.len() {
            1 => vec![values],
            _ => values.as_struct().columns().to_vec(),
        };
        self.inner.update_batch(&columns)?;
        self.inner.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.set.state()
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.set.size() + self.inner.size()
    }
}
