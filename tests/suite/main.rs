//! Tests over all crates, through the real command line and the real protocols.
//!
//! They need the binaries of this workspace: `cargo test --workspace` builds them.

#![expect(clippy::print_stdout, reason = "tests say what they counted")]

mod aws;
mod command;
mod full_disk;
mod kills;
mod kit;
mod lambda;
mod lambda_api;
mod lanes;
mod levels;
mod permissions;
mod poison;
mod rewind;
mod segments;
mod shards;
mod spark;
mod sql;
mod stand_in;
mod stops;
mod tick;
mod tidy;
