//! The functions of the dialect, one file per group of Spark's documentation.
//!
//! A function is a [`Def`]: what it takes, what it gives, and a kernel over arrays. Arguments are cast to what it
//! takes when the query is planned, as Spark does, so that kernels see one type. Functions whose plan depends on
//! more than that (`if`, `coalesce`, `round`) have a [`Planned`] entry instead.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use datafusion::scalar::ScalarValue;
use tidegate_core::{Units, Zone};

use super::plan::Planner;
use super::types::{mark_of, units_of};

pub mod aggregate;
pub mod cipher;
pub mod collection;
pub mod conditional;
pub mod conversion;
pub mod csv;
pub mod datetime;
pub mod hash;
pub mod json;
pub mod math;
pub mod pattern;
pub mod string;
pub mod vector;

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Anything, as it is.
    Any,
    /// Text; other values are cast to it.
    Text,
    /// Bytes; text is read as UTF-8.
    Bytes,
    /// `int`
    Int,
    /// `bigint`
    Long,
    /// `double`
    Double,
    /// `boolean`
    Bool,
    /// `date`
    Date,
    /// `timestamp`
    Timestamp,
    /// `timestamp` or `timestamp_ntz`, whichever is given; other values are cast to `timestamp`.
    Clock,
}

impl Takes {
    /// The type, where it is one.
    pub fn data_type(self) -> Option<DataType> {
        match self {
            Self::Any => None,
            Self::Text => Some(DataType::Utf8),
            Self::Bytes => Some(DataType::Binary),
            Self::Int => Some(DataType::Int32),
            Self::Long => Some(DataType::Int64),
            Self::Double => Some(DataType::Float64),
            Self::Bool => Some(DataType::Boolean),
            Self::Date => Some(DataType::Date32),
            Self::Timestamp | Self::Clock => Some(super::types::timestamp()),
        }
    }
}

/// What a function gives.
#[derive(Clone, Copy)]
pub enum Gives {
    /// One type, always.
    Type(Takes),
    /// The type of its first argument.
    First,
    /// What this says for the types of its arguments, after their cast.
    Of(fn(&[DataType]) -> Result<DataType>),
}

/// A call of a kernel: arguments as arrays of equal length.
pub struct Call<'a> {
    /// The arguments.
    pub args: &'a [ArrayRef],
    /// How many rows they have.
    pub rows: usize,
    /// What the kernel gives.
    pub out: &'a DataType,
    /// The session time zone.
    pub zone: Zone,
}

/// A kernel.
pub type Run = fn(&Call<'_>) -> Result<ArrayRef>;

/// A function.
#[derive(Clone, Copy)]
pub struct Def {
    /// Its name and other names, lower case.
    pub names: &'static [&'static str],
    /// Its parameters; the last one repeats where `variadic`.
    pub takes: &'static [Takes],
    /// How many may be left out at the end.
    pub optional: usize,
    /// Whether the last parameter repeats.
    pub variadic: bool,
    /// What it gives.
    pub gives: Gives,
    /// The kernel.
    pub run: Run,
}

impl Def {
    /// A function with a fixed count of parameters.
    pub const fn new(names: &'static [&'static str], takes: &'static [Takes], gives: Gives, run: Run) -> Self {
        Self { names, takes, optional: 0, variadic: false, gives, run }
    }

    /// The last `count` parameters may be left out.
    pub const fn optional(mut self, count: usize) -> Self {
        self.optional = count;
        self
    }

    /// The last parameter repeats, zero or more times.
    pub const fn variadic(mut self) -> Self {
        self.variadic = true;
        self
    }

    fn accepts(&self, count: usize) -> bool {
        let fewest = self.takes.len() - self.optional - usize::from(self.variadic);
        count >= fewest && (self.variadic || count <= self.takes.len())
    }
}

/// A function that plans its own expression.
pub type PlanFn = fn(&Planner<'_>, Vec<Expr>) -> Result<Expr>;

/// A name and the function that plans it.
pub type Planned = (&'static [&'static str], PlanFn);

/// A function of DataFusion or `datafusion-spark` that is right once its arguments have these types.
pub type Foreign = (&'static str, &'static [Takes]);

const GROUPS: &[&[Def]] = &[
    string::FUNCTIONS,
    string::bytes::FUNCTIONS,
    string::code::FUNCTIONS,
    string::words::FUNCTIONS,
    datetime::FUNCTIONS,
    datetime::make::FUNCTIONS,
    datetime::series::FUNCTIONS,
    datetime::span::FUNCTIONS,
    math::FUNCTIONS,
    collection::FUNCTIONS,
    collection::list::FUNCTIONS,
    collection::map::FUNCTIONS,
    collection::quantile::FUNCTIONS,
    collection::quantile::UNITS,
    hash::FUNCTIONS,
    cipher::FUNCTIONS,
    json::FUNCTIONS,
    conversion::FUNCTIONS,
    vector::FUNCTIONS,
    aggregate::kept::FUNCTIONS,
    aggregate::approx::FUNCTIONS,
];
const PLANNED: &[&[Planned]] = &[
    conditional::PLANNED,
    conversion::PLANNED,
    math::PLANNED,
    datetime::PLANNED,
    datetime::make::PLANNED,
    datetime::span::PLANNED,
    collection::PLANNED,
    collection::list::PLANNED,
    collection::map::PLANNED,
    collection::quantile::PLANNED,
    string::PLANNED,
    json::PLANNED,
    aggregate::PLANNED,
    csv::PLANNED,
    cipher::PLANNED,
    vector::PLANNED,
];
const FOREIGN: &[&[Foreign]] = &[math::FOREIGN, hash::FOREIGN, string::FOREIGN];

/// The own function of a name.
pub fn find(name: &str) -> Option<&'static Def> {
    GROUPS.iter().flat_map(|group| group.iter()).find(|def| def.names.contains(&name))
}

/// The own planning function of a name.
pub fn find_planned(name: &str) -> Option<PlanFn> {
    let all = PLANNED.iter().flat_map(|group| group.iter());
    all.into_iter().find(|(names, _)| names.contains(&name)).map(|(_, plan)| *plan)
}

/// The parameters of a foreign function.
pub fn find_foreign(name: &str) -> Option<&'static [Takes]> {
    FOREIGN.iter().flat_map(|group| group.iter()).find(|(known, _)| *known == name).map(|(_, takes)| *takes)
}

/// All names that are planned here.
pub fn names() -> impl Iterator<Item = &'static str> {
    let own = GROUPS.iter().flat_map(|group| group.iter()).flat_map(|def| def.names.iter().copied());
    let planned = PLANNED.iter().flat_map(|group| group.iter()).flat_map(|(names, _)| names.iter().copied());
    own.chain(planned)
}

/// Plans a call of an own function: casts the arguments, finds the result type.
pub fn plan_call(planner: &Planner<'_>, def: &'static Def, args: Vec<Expr>) -> Result<Expr> {
    let name = def.names[0];
    if !def.accepts(args.len()) {
        let fewest = def.takes.len() - def.optional - usize::from(def.variadic);
        return datafusion::common::plan_err!(
            "{name} takes {} arguments, {} are given",
            if def.variadic { format!("{fewest} or more") } else { format!("{fewest} to {}", def.takes.len()) },
            args.len()
        );
    }
    let last = def.takes.len().saturating_sub(1);
    let mut cast = Vec::with_capacity(args.len());
    for (i, arg) in args.into_iter().enumerate() {
        cast.push(planner.implicit(arg, def.takes[i.min(last)], name)?);
    }
    let types = cast.iter().map(|arg| planner.type_of(arg)).collect::<Result<Vec<_>>>()?;
    let out = match def.gives {
        Gives::Type(takes) => takes.data_type().unwrap_or(DataType::Null),
        Gives::First => types.first().cloned().unwrap_or(DataType::Null),
        Gives::Of(of) => of(&types)?,
    };
    Ok(call(planner, name, def.run, out, cast))
}

/// An expression that runs `run` over `args`.
pub fn call(planner: &Planner<'_>, name: &'static str, run: Run, out: DataType, args: Vec<Expr>) -> Expr {
    call_in(planner.shared.zone, name, run, out, args)
}

/// An expression that runs `run` over `args` in a session time zone.
pub fn call_in(zone: Zone, name: &'static str, run: Run, out: DataType, args: Vec<Expr>) -> Expr {
    Arc::new(ScalarUDF::from(Function::new(name, run, out, zone))).call(args)
}

/// A kernel as DataFusion sees it.
#[derive(Clone, Debug)]
pub struct Function {
    name: &'static str,
    run: Run,
    out: DataType,
    zone: Zone,
    signature: Signature,
}

impl Function {
    /// The units of the intervals that it gives, where they are not all of them.
    fn units(&self, args: &ReturnFieldArgs<'_>) -> Option<Units> {
        match self.name {
            "interval_of_dates" => Some(Units::DAY),
            "interval_cut" => match args.scalar_arguments.get(1) {
                Some(Some(ScalarValue::Utf8(Some(units)))) => Units::parse(units),
                _ => None,
            },
            "interval_negated"
            | "interval_abs"
            | "interval_add"
            | "interval_subtract"
            | "try_interval_add"
            | "try_interval_subtract" => {
                let units = args.arg_fields.iter().map(|field| units_of(field));
                units.reduce(|all, one| all?.with(one?)).flatten()
            }
            _ => None,
        }
    }

    /// A pure function.
    pub fn new(name: &'static str, run: Run, out: DataType, zone: Zone) -> Self {
        let any = TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::VariadicAny]);
        Self { name, run, out, zone, signature: Signature::new(any, Volatility::Immutable) }
    }
}

// The kernel follows from the name, and addresses of functions are no identity.
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.out == other.out && self.zone == other.zone
    }
}

impl Eq for Function {}

impl std::hash::Hash for Function {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.out.hash(state);
        self.zone.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.out.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let marks = self.units(&args).and_then(mark_of);
        let field = Field::new(self.name, self.out.clone(), true);
        Ok(Arc::new(field.with_metadata(marks.into_iter().collect())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let array = (self.run)(&Call { args: &arrays, rows, out: &self.out, zone: self.zone })?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }
}

impl Call<'_> {
    /// Whether every argument has a value in a row.
    pub fn complete(&self, row: usize) -> bool {
        self.args.iter().all(|arg| arg.is_valid(row) && arg.data_type() != &DataType::Null)
    }

    /// The zone of an argument's clock: the session's for instants, none for wall-clock times.
    pub fn zone_of(&self, arg: usize) -> Zone {
        match self.args.get(arg).map(|arg| arg.data_type()) {
            Some(DataType::Timestamp(_, None)) => Zone::UTC,
            _ => self.zone,
        }
    }

    /// Whether an argument is given.
    pub fn has(&self, arg: usize) -> bool {
        self.args.len() > arg
    }
}
