//! Deterministic simulation of a whole pipeline: the real code of state, lanes and delivery, and around it a world of
//! stores, targets, sources and execution environments in which everything goes wrong that can.
//!
//! A schedule follows from its seed alone. [`run`] runs one and says what was broken. See `docs/proof.md`.

pub mod check;
pub mod config;
pub mod draw;
pub mod environment;
pub mod fault;
pub mod paths;
pub mod plant;
pub mod suite;
pub mod world;

mod blobs;
mod operators;
mod reference;
mod rows;
#[cfg(feature = "sdk")]
mod sdk;
mod segments;
mod shrink;
mod simulation;
mod source;
mod store;
mod target;

pub use check::Violation;
pub use simulation::{Outcome, Plan, run};
pub use store::Alone;
