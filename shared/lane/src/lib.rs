//! What happens to a lane, in the order that the protocol asks for: load or reuse its memory, settle what is owed, skip
//! what is committed, compute, commit, deliver, and keep the memory only if all of that succeeded.
//!
//! What is computed is not known here: [`Operators`] does it, with SQL in production and with a small native fold in the
//! simulation. So the order of things is the same code in both.
//!
//! - [`Lanes`]: one environment's lanes and their warm memory.
//! - `batch`: one micro-batch. `settle`: an outbox, until every request is acknowledged or decided.

mod batch;
mod budget;
mod close;
mod decide;
mod generation;
mod lanes;
mod operators;
mod origin;
mod poison;
mod report;
mod reshard;
mod sent;
mod settle;
mod take_over;
#[cfg(test)]
mod tests;
mod tick;
mod view;

pub use budget::Budget;
pub use close::{CloseError, MAX_CLOSE_ROUNDS, MAX_WAITING_SEALS, Reach};
pub use decide::{Family, LaneProgress, behind, closable, idle_goal, next_family, oldest_first};
pub use generation::{Anew, Replay, Sealing};
pub use lanes::{DEFAULT_MAX_TRIES, LaneOptions, Lanes};
pub use operators::{Built, Close, Closed, Operators, Sealed, StepContext, Stored, Work};
pub use poison::{MAX_DEATHS, Undone};
pub use report::{BatchReport, Counts, StageTimes};
pub use sent::Sent;
pub use settle::MAX_CARRIES;
pub use take_over::CLOCK_SKEW;
pub use tick::{DEFAULT_REST_AFTER, TickOptions, TickReport};
pub use view::{Backlog, Descent, SourceView};
