//! The dialect against recordings of Spark.

mod json;
mod recorded;
mod session;
mod table;
