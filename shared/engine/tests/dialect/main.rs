//! The dialect against recordings of Spark.

mod examples;
mod extremes;
mod groups;
mod json;
mod recorded;
mod reference;
mod session;
mod table;
mod typed;
