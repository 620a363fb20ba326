//! The parts of the protocol, one file each. Each file is the specification of its part: the rules as switches, the
//! steps in the words of `docs/protocol.md`.

pub mod at_most_once;
pub mod exchange;
pub mod fence;
pub mod garbage;
pub mod generations;
pub mod interleaved;
pub mod replay;
pub mod requests;
pub mod resharding;
pub mod ring;
pub mod ring_size;
pub mod seal_names;
pub mod sealed_senders;
pub mod transaction;
pub mod windows;
