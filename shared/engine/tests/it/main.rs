//! The engine from outside: plans, steps, state.

mod approx;
mod cuts;
mod errors;
mod hashes;
mod kept;
mod lanes;
mod late;
mod layout;
mod refusals;
mod rows;
mod segments;
mod support;
