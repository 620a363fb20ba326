//! The smaller models.

use super::{Case, breaks, holds};
use crate::invariant::Invariant;
use crate::models::at_most_once::{self, AtMostOnce};
use crate::models::exchange::{self, Exchange, Remembers};
use crate::models::fence::{self, Fence};
use crate::models::generations::{self, Generations};
use crate::models::interleaved::Interleaved;
use crate::models::replay::{self, Replay, Silence};
use crate::models::ring_size::RingSize;
use crate::models::seal_names::SealNames;
use crate::models::sealed_senders::{self, SealedSenders};
use crate::models::transaction::{self, Transaction};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = single_lanes();
    cases.extend(of_generations());
    cases.extend(of_replays());
    cases.extend(of_exchanges());
    cases.extend(at_most_once());
    cases
}

fn of_generations() -> Vec<Case> {
    let rules = generations::Rules::RIGHT;
    let weak = |name, invariant, rules| breaks("generations", name, invariant, Generations { rules, deaths: 1 });
    let senders = sealed_senders::Rules::RIGHT;
    vec![
        holds("generations", "warm writers, an operator that dies", Generations { rules, deaths: 2 }),
        weak(
            "lanes may register while the old ones are sealed",
            Invariant::OneGeneration,
            generations::Rules { phase_first: false, ..rules },
        ),
        weak(
            "old rings are left alone",
            Invariant::OneGeneration,
            generations::Rules { rings_are_sealed: false, ..rules },
        ),
        weak(
            "close lanes are not sealed",
            Invariant::OneGeneration,
            generations::Rules { close_lanes_are_sealed: false, ..rules },
        ),
        weak(
            "a sealing commit drops what is owed",
            Invariant::NothingLost,
            generations::Rules { owed_is_carried: false, ..rules },
        ),
        weak(
            "the new generation sends before the old outbox is settled",
            Invariant::Order,
            generations::Rules { old_outbox_first: false, ..rules },
        ),
        holds("sealed_senders", "two senders and an opener", SealedSenders { rules: senders }),
        breaks(
            "sealed_senders",
            "who takes a sealed outbox over says nothing",
            Invariant::Order,
            SealedSenders { rules: sealed_senders::Rules { announces: false, ..senders } },
        ),
        breaks(
            "sealed_senders",
            "it says so before its carry commit",
            Invariant::Order,
            SealedSenders { rules: sealed_senders::Rules { behind_the_commit: false, ..senders } },
        ),
        breaks(
            "sealed_senders",
            "a generation opens whatever the registry says by then",
            Invariant::Order,
            SealedSenders { rules: sealed_senders::Rules { opens_on_condition: false, ..senders } },
        ),
        holds("seal_names", "generation, output and lane", SealNames { generation: true, output: true, lane: true }),
        breaks(
            "seal_names",
            "keys without the generation",
            Invariant::WindowWhole,
            SealNames { generation: false, output: true, lane: true },
        ),
        breaks(
            "seal_names",
            "keys without the output",
            Invariant::WindowWhole,
            SealNames { generation: true, output: false, lane: true },
        ),
        breaks(
            "seal_names",
            "keys without the lane",
            Invariant::WindowWhole,
            SealNames { generation: true, output: true, lane: false },
        ),
    ]
}

fn of_replays() -> Vec<Case> {
    let rules = replay::Rules::RIGHT;
    let weak = |name, invariant, repair, rules| breaks("replay", name, invariant, Replay { rules, repair });
    let silent = |silent_windows| replay::Rules { silent_windows, ..rules };
    vec![
        holds("replay", "repair, cut differently", Replay { rules, repair: true }),
        holds("replay", "replay, cut differently", Replay { rules, repair: false }),
        weak("repair: windows silent by their commit's end", Invariant::WindowOnce, true, silent(Silence::CommitEnd)),
        weak(
            "repair: windows silent by their commit's start",
            Invariant::NothingLost,
            true,
            silent(Silence::CommitStart),
        ),
        weak(
            "repair: rows silent by commit",
            Invariant::EffectOnce,
            true,
            replay::Rules { silent_rows_by_position: false, ..rules },
        ),
        weak("replay keeps its ids", Invariant::OnePayloadPerId, false, replay::Rules { new_ids: false, ..rules }),
        weak(
            "replay begins inside a window",
            Invariant::WindowWhole,
            false,
            replay::Rules { starts_between_windows: false, ..rules },
        ),
    ]
}

fn of_exchanges() -> Vec<Case> {
    let rules = exchange::Rules::RIGHT;
    let small = Exchange { rules, upstream: 1, commits: 2, throttles: 1, resends: 1, reshards: 0 };
    let resharded = Exchange { reshards: 2, ..small };
    let weak = |name, invariant, world, rules| breaks("exchange", name, invariant, Exchange { rules, ..world });
    let remembers = |remembers| exchange::Rules { remembers, ..rules };
    vec![
        holds("exchange", "throttling, outboxes sent again", Exchange { throttles: 2, resends: 2, ..small }),
        holds("exchange", "split and merge of the receiver", Exchange { throttles: 2, resends: 2, ..resharded }),
        holds("exchange", "two upstream lanes, split and merge", Exchange { upstream: 2, ..resharded }),
        weak("the last n, its rows are repeats", Invariant::NothingLost, small, remembers(Remembers::NumberClosed)),
        weak("the last n, its rows are new", Invariant::FoldedOnce, small, remembers(Remembers::NumberOpen)),
        weak("the largest (n, index)", Invariant::NothingLost, small, remembers(Remembers::Largest)),
        weak(
            "a split gives the memory to one child",
            Invariant::FoldedOnce,
            resharded,
            exchange::Rules { copied_at_split: false, ..rules },
        ),
        weak(
            "a merge keeps one parent's memory",
            Invariant::FoldedOnce,
            resharded,
            exchange::Rules { united_at_merge: false, ..rules },
        ),
        weak(
            "the largest watermark of the upstream lanes",
            Invariant::OnTimeCounts,
            Exchange { upstream: 2, ..small },
            exchange::Rules { smallest_watermark: false, ..rules },
        ),
    ]
}

fn at_most_once() -> Vec<Case> {
    let rules = at_most_once::Rules::RIGHT;
    let (deaths, lost, refusals) = (2, 2, 2);
    let weak = |name, rules| {
        breaks("at_most_once", name, Invariant::EffectOnce, AtMostOnce::<2> { rules, deaths, lost, refusals })
    };
    vec![
        holds("at_most_once", "two environments", AtMostOnce::<2> { rules, deaths, lost, refusals }),
        holds("at_most_once", "one after the other", AtMostOnce::<1> { rules, deaths, lost, refusals }),
        holds("at_most_once", "a target that refuses", AtMostOnce::<1> { rules, deaths: 0, lost: 0, refusals: 4 }),
        weak("who loads it sends it", at_most_once::Rules { loader_drops: false, ..rules }),
        weak("taken up without a commit", at_most_once::Rules { taken_up_by_commit: false, ..rules }),
        weak("an unknown outcome counts as refused", at_most_once::Rules { unknown_is_final: false, ..rules }),
        weak("offered and sent", at_most_once::Rules { offer_ends_permission: false, ..rules }),
        weak("a put without an answer is a success", at_most_once::Rules { unknown_put_is_loaded: false, ..rules }),
        breaks(
            "at_most_once",
            "refused and not offered",
            Invariant::NothingLost,
            AtMostOnce::<1> {
                rules: at_most_once::Rules { offered_when_refused: false, ..rules },
                deaths: 0,
                lost: 0,
                refusals: 1,
            },
        ),
    ]
}

fn single_lanes() -> Vec<Case> {
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
