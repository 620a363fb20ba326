//! The protocol as models, and a checker that takes every order of steps.
//!
//! [`models`] is the readable specification: one file per part, each rule a named switch. [`cases`] lists what is
//! searched: the right rules, which must hold, and the same models with one rule weakened, which must fail at a named
//! invariant. See `README.md` beside the manifest for what this proves and what it does not.

pub mod cases;
pub mod invariant;
pub mod models;
pub mod report;
pub mod search;
mod seen;
