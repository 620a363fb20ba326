//! The smaller models.

use super::{Case, breaks, holds};
use crate::invariant::Invariant;
use crate::models::fence::{self, Fence};
use crate::models::interleaved::Interleaved;
use crate::models::ring_size::RingSize;
use crate::models::transaction::{self, Transaction};

pub(super) fn cases() -> Vec<Case> {
    let fenced = fence::Rules::RIGHT;
    let database = transaction::Rules::RIGHT;
    vec![
        holds("ring_size", "two versions, the stored size", RingSize { size_is_stored: true }),
        breaks(
            "ring_size",
            "each version uses its own size",
            Invariant::OneCommitPerNumber,
            RingSize { size_is_stored: false },
        ),
        holds("fence", "per key, side by side", Fence { rules: fenced, per_key: true }),
        holds("fence", "per lane, one at a time", Fence { rules: fenced, per_key: false }),
        breaks(
            "fence",
            "a child's numbers begin at 1",
            Invariant::NothingLost,
            Fence { rules: fence::Rules { child_above_parents: false, ..fenced }, per_key: true },
        ),
        breaks(
            "fence",
            "one fence per lane, requests side by side",
            Invariant::NothingLost,
            Fence { rules: fence::Rules { side_by_side_only_per_key: false, ..fenced }, per_key: false },
        ),
        holds("transaction", "two writers, deaths", Transaction { rules: database, deaths: 2 }),
        breaks(
            "transaction",
            "the database before the commit",
            Invariant::EffectOnce,
            Transaction { rules: transaction::Rules { outbox_first: false, ..database }, deaths: 1 },
        ),
        breaks(
            "transaction",
            "positions without bytes",
            Invariant::NothingLost,
            Transaction { rules: transaction::Rules { bytes_in_outbox: false, ..database }, deaths: 1 },
        ),
        breaks(
            "transaction",
            "rows without the commit's number",
            Invariant::EffectOnce,
            Transaction { rules: transaction::Rules { number_with_rows: false, ..database }, deaths: 1 },
        ),
        holds("interleaved", "one order per partition", Interleaved { one_order: true }),
        breaks(
            "interleaved",
            "a parallelization factor of 2",
            Invariant::NothingLost,
            Interleaved { one_order: false },
        ),
    ]
}
