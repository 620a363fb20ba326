//! The dialect against recordings of Spark.

mod examples;
mod json;
mod recorded;
mod reference;
mod session;
mod table;
mod typed;
