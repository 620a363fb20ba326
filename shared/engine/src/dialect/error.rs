//! Errors that a row's values raise, told apart from a broken plan.

use std::fmt;

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;

/// An error that the values of a row raise, as Spark's ANSI mode does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// Spark's error class: `DIVIDE_BY_ZERO`, `ARITHMETIC_OVERFLOW`, `CAST_INVALID_INPUT`, ...
    pub class: &'static str,
    /// What happened, with the value.
    pub message: String,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.class, self.message)
    }
}

impl std::error::Error for RowError {}

impl RowError {
    /// An error of Spark's `class`.
    pub fn new(class: &'static str, message: impl Into<String>) -> Self {
        Self { class, message: message.into() }
    }
}

impl From<RowError> for DataFusionError {
    fn from(error: RowError) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<RowError> for ArrowError {
    fn from(error: RowError) -> Self {
        Self::ExternalError(Box::new(error))
    }
}

/// What an error of a running plan means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The values of a row raised it: the row is bad, the plan is sound.
    Row(RowError),
    /// The plan, the machine or a limit: no row is to blame.
    Plan,
}

/// Tells an error that a row's values raised from a broken plan.
pub fn classify(error: &DataFusionError) -> Fault {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = at {
        if let Some(row) = inner.downcast_ref::<RowError>() {
            return Fault::Row(row.clone());
        }
        if let Some(arrow) = inner.downcast_ref::<ArrowError>()
            && let Some(row) = of_arrow(arrow)
        {
            return Fault::Row(row);
        }
        at = inner.source();
    }
    match error.find_root() {
        DataFusionError::ArrowError(arrow, _) => of_arrow(arrow).map_or(Fault::Plan, Fault::Row),
        DataFusionError::External(inner) => match inner.downcast_ref::<RowError>() {
            Some(row) => Fault::Row(row.clone()),
            None => Fault::Plan,
        },
        DataFusionError::Execution(message) if message.contains("[DUPLICATED_MAP_KEY]") => {
            Fault::Row(RowError::new("DUPLICATED_MAP_KEY", "a key is twice in a map"))
        }
        DataFusionError::Execution(message) if message.contains("keys and values lists") => {
            Fault::Row(RowError::new("_LEGACY_ERROR_TEMP_2128", "the arrays of keys and values are not of one length"))
        }
        DataFusionError::Execution(message) => Fault::Row(RowError::new("INVALID_PARAMETER_VALUE", message.clone())),
        _ => Fault::Plan,
    }
}

/// Kernels of arrow raise these for values only.
fn of_arrow(error: &ArrowError) -> Option<RowError> {
    match error {
        ArrowError::DivideByZero => Some(RowError::new("DIVIDE_BY_ZERO", "division by zero")),
        ArrowError::ArithmeticOverflow(message) => Some(RowError::new("ARITHMETIC_OVERFLOW", message.clone())),
        ArrowError::CastError(message) | ArrowError::ParseError(message) => {
            Some(RowError::new("CAST_INVALID_INPUT", message.clone()))
        }
        ArrowError::ComputeError(message) => Some(RowError::new("ARITHMETIC_OVERFLOW", message.clone())),
        ArrowError::ExternalError(inner) => inner.downcast_ref::<RowError>().cloned(),
        _ => None,
    }
}
