//! Delivery of results: rows become requests, requests are sent until they are settled.
//!
//! - [`plan`] turns rows into outbox entries. Pure and deterministic; the bytes are committed before anything is sent.
//! - [`Sender::deliver`] sends what a commit owes and says what became of each request.
//! - [`decide`] and [`carry`] turn rejections into halves and dead letters. Pure; committed before they are acted on.
//!
//! The outside is reached through ports: [`HttpTransport`], [`DeadLetterStore`], and the clock, random and secret
//! ports of `tidegate_core`.

pub mod classify;
pub mod config;
mod credentials;
mod dead_letter;
mod decide;
pub mod json;
mod lines;
mod pace;
pub mod payload;
mod plan;
mod repeat;
mod request;
mod secrets;
mod sender;
mod template;
mod transport;

#[cfg(feature = "aws-secrets")]
pub mod aws_secrets;
#[cfg(feature = "sqs")]
pub mod sqs;

pub use config::Target;
pub use dead_letter::{
    DEAD_LETTER_ENTRY_BYTES, DEAD_LETTERS_PER_ENTRY, DeadLetter, DeadLetterFile, DeadLetterStderr, DeadLetterStore,
    MAX_ORIGINAL_BYTES, MAX_REASON_BYTES, dead_letter_entries,
};
pub use decide::{Carry, Decision, carry, decide};
pub use json::{check_schema, rows_json};
pub use plan::{LINES_ENTRY_BYTES, MAX_ROW_BYTES, PlanContext, Planned, check_target, plan};
pub use repeat::{TakeOver, check_remembered, first_sender_decides, longest_flight, repeats_count, take_over};
pub use request::{CONTENT_HASH_HEADER, FENCE_LANE_HEADER, FENCE_NUMBER_HEADER};
pub use secrets::{CachedSecrets, DEFAULT_SECRET_TTL, Environment, MAX_SECRET_BYTES, Secrets};
pub use sender::{
    BlockKind, DeliveryContext, DeliveryCounts, DeliveryReport, MIN_ATTEMPT_TIME, Outcome, Sender, SenderPorts,
};
pub use template::{MAX_HEADER_BYTES, MAX_URL_BYTES};
pub use transport::{
    CONNECT_TIMEOUT, HttpFault, HttpRequest, HttpResponse, HttpTransport, MAX_RESPONSE_BYTES, REPEAT_HEADER,
    ReqwestTransport,
};

#[cfg(test)]
mod tests;
