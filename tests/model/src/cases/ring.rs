//! One lane.

use super::{Case, breaks, holds};
use crate::invariant::Invariant;
use crate::models::ring::{BeforeForeignSend, Faults, Reads, Ring, Rules, Target};

const NONE: Faults = Faults {
    give_ups: 0,
    deaths: 0,
    lost_puts: 0,
    slow_requests: 0,
    forgets: 0,
    prefixes: 0,
    outages: 0,
    ticks: 0,
    deletions: 0,
};

/// Two environments, two slots, three records in batches of up to two.
const BASE: Ring<2, 2> =
    Ring { rules: Rules::RIGHT, target: Target::ById, reads: Reads::InOrder, faults: NONE, records: 3, batch: 2 };

const LAST_WRITER: Ring<2, 2> = Ring { target: Target::LastWriterWins, ..BASE };

fn three_writers() -> Ring<3, 2> {
    let Ring { rules, target, reads, records, batch, .. } = BASE;
    Ring { rules, target, reads, faults: Faults { give_ups: 2, deaths: 1, lost_puts: 1, ..NONE }, records, batch }
}

fn three_last_writers() -> Ring<3, 2> {
    Ring {
        target: Target::LastWriterWins,
        reads: Reads::Atomic,
        faults: Faults { give_ups: 2, deaths: 1, ..NONE },
        ..three_writers()
    }
}

fn three_slots() -> Ring<2, 3> {
    let Ring { rules, target, .. } = BASE;
    let faults = Faults { give_ups: 1, deaths: 1, lost_puts: 1, prefixes: 1, ..NONE };
    Ring { rules, target, reads: Reads::AnyOrder, faults, records: 4, batch: 2 }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = right();
    cases.extend(wrong_commits());
    cases.extend(wrong_sends());
    cases
}

fn right() -> Vec<Case> {
    let ring = |name, world| holds("ring", name, world);
    vec![
        ring(
            "by_id, torn loads in any order, late puts",
            Ring { reads: Reads::AnyOrder, faults: Faults { give_ups: 1, deaths: 1, lost_puts: 1, ..NONE }, ..BASE },
        ),
        ring(
            "by_id, target forgets, tick beside batches",
            Ring { faults: Faults { give_ups: 1, deaths: 1, lost_puts: 1, forgets: 1, ticks: 2, ..NONE }, ..BASE },
        ),
        ring(
            "by_id, target down, forgets, warm errors",
            Ring {
                reads: Reads::Atomic,
                faults: Faults { give_ups: 1, deaths: 1, forgets: 1, outages: 2, ticks: 2, ..NONE },
                ..BASE
            },
        ),
        ring(
            "fenced, torn loads, late requests, prefixes",
            Ring {
                target: Target::Fenced,
                reads: Reads::AnyOrder,
                faults: Faults { give_ups: 1, lost_puts: 1, slow_requests: 1, prefixes: 1, ..NONE },
                ..BASE
            },
        ),
        ring(
            "none, nothing lost",
            Ring {
                target: Target::None,
                faults: Faults { give_ups: 1, deaths: 1, lost_puts: 1, slow_requests: 1, ..NONE },
                ..BASE
            },
        ),
        ring(
            "last_writer_wins, takeover, torn loads, late puts",
            Ring { faults: Faults { give_ups: 1, deaths: 1, lost_puts: 1, ..NONE }, ..LAST_WRITER },
        ),
        ring(
            "last_writer_wins, warm errors",
            Ring { reads: Reads::Atomic, faults: Faults { give_ups: 1, deaths: 1, outages: 2, ..NONE }, ..LAST_WRITER },
        ),
        holds("ring", "by_id, three slots, prefixes", three_slots()),
        holds("ring", "by_id, three writers, late puts", three_writers()),
        holds("ring", "last_writer_wins, three writers", three_last_writers()),
        ring(
            "by_id, late requests, late puts, tick",
            Ring {
                faults: Faults { give_ups: 1, deaths: 1, lost_puts: 1, slow_requests: 1, ticks: 1, ..NONE },
                ..BASE
            },
        ),
        ring(
            "last_writer_wins, two zombies, two deaths",
            Ring { faults: Faults { give_ups: 2, deaths: 2, lost_puts: 1, ..NONE }, ..LAST_WRITER },
        ),
        ring(
            "by_id, old values in loads, late puts and requests",
            Ring {
                reads: Reads::Stale,
                faults: Faults { give_ups: 1, deaths: 1, lost_puts: 2, slow_requests: 1, ..NONE },
                ..BASE
            },
        ),
    ]
}

/// Faults that an append-only or unconditional store would not survive.
const COMMON: Faults = Faults { give_ups: 1, deaths: 1, lost_puts: 1, ..NONE };

fn wrong_commits() -> Vec<Case> {
    let weak = |name, invariant, world: Ring<2, 2>| breaks("ring", name, invariant, world);
    let rules = Rules::RIGHT;
    vec![
        weak(
            "slots expire",
            Invariant::OneCommitPerNumber,
            Ring {
                rules: Rules { slots_stay: false, ..rules },
                faults: Faults { deletions: 1, ticks: 1, give_ups: 1, ..NONE },
                ..BASE
            },
        ),
        weak(
            "puts have no condition",
            Invariant::OneCommitPerNumber,
            Ring { rules: Rules { conditional_put: false, ..rules }, faults: COMMON, ..BASE },
        ),
        weak(
            "n+1 before n is settled",
            Invariant::NothingLost,
            Ring { rules: Rules { settle_before_next: false, ..rules }, target: Target::None, faults: COMMON, ..BASE },
        ),
        weak(
            "no manifest before the ring wraps",
            Invariant::StateWhole,
            Ring { rules: Rules { manifest_before_wrap: false, ..rules }, faults: COMMON, ..BASE },
        ),
        weak(
            "manifest without condition",
            Invariant::StateWhole,
            Ring {
                rules: Rules { manifest_compare_and_swap: false, ..rules },
                reads: Reads::Atomic,
                faults: Faults { ticks: 1, ..NONE },
                records: 4,
                batch: 1,
                ..BASE
            },
        ),
        weak(
            "tick moves the manifest past an unsettled head",
            Invariant::NothingLost,
            Ring {
                rules: Rules { manifest_covers_settled: false, ..rules },
                faults: Faults { ticks: 1, ..COMMON },
                ..BASE
            },
        ),
        weak(
            "torn loads are believed",
            Invariant::LoadIsTrue,
            Ring { rules: Rules { load_checked: false, ..rules }, faults: COMMON, ..BASE },
        ),
        weak(
            "a refusal with my writer token is a success",
            Invariant::OnePayloadPerId,
            Ring {
                rules: Rules { attempt_token: false, ..rules },
                faults: Faults { lost_puts: 1, give_ups: 1, prefixes: 1, ..NONE },
                ..BASE
            },
        ),
        weak(
            "a put without an answer is a success",
            Invariant::OnePayloadPerId,
            Ring { rules: Rules { unknown_is_no_success: false, ..rules }, faults: COMMON, ..BASE },
        ),
        weak(
            "repeated records are folded again",
            Invariant::FoldedOnce,
            Ring { rules: Rules { skip_rule: false, ..rules }, faults: COMMON, ..BASE },
        ),
    ]
}

fn wrong_sends() -> Vec<Case> {
    let weak = |name, invariant, world: Ring<2, 2>| breaks("ring", name, invariant, world);
    let rules = Rules::RIGHT;
    let before = |way| Ring { rules: Rules { before_foreign_send: way, ..rules }, reads: Reads::Atomic, ..LAST_WRITER };
    let zombies = Faults { give_ups: 2, deaths: 1, ..NONE };
    vec![
        weak(
            "success is answered before the outbox is settled",
            Invariant::NothingLost,
            Ring { rules: Rules { answer_when_settled: false, ..rules }, faults: COMMON, ..BASE },
        ),
        weak(
            "the outbox is computed again",
            Invariant::OnePayloadPerId,
            Ring { rules: Rules { committed_bytes: false, ..rules }, faults: COMMON, ..BASE },
        ),
        weak(
            "nothing settles a resting head, target forgets",
            Invariant::EffectOnce,
            Ring {
                rules: Rules { tick_before_forgetting: false, ..rules },
                reads: Reads::Atomic,
                faults: Faults { deaths: 1, forgets: 1, ..NONE },
                ..BASE
            },
        ),
        weak(
            "nothing settles a resting head, no fault at all",
            Invariant::EffectOnce,
            Ring {
                rules: Rules { tick_before_forgetting: false, ..rules },
                reads: Reads::Atomic,
                faults: Faults { forgets: 1, ..NONE },
                ..BASE
            },
        ),
        weak(
            "unsettled memory stays warm, target forgets",
            Invariant::EffectOnce,
            Ring {
                rules: Rules { drop_unsettled_memory: false, ..rules },
                reads: Reads::Atomic,
                faults: Faults { forgets: 1, outages: 1, ticks: 2, ..NONE },
                ..BASE
            },
        ),
        weak(
            "unsettled memory stays warm, last_writer_wins",
            Invariant::Order,
            Ring {
                rules: Rules { drop_unsettled_memory: false, ..rules },
                reads: Reads::Atomic,
                faults: Faults { give_ups: 1, outages: 1, ..NONE },
                ..LAST_WRITER
            },
        ),
        weak(
            "last_writer_wins: foreign heads are sent at once",
            Invariant::Order,
            Ring { faults: COMMON, ..before(BeforeForeignSend::Nothing) },
        ),
        weak(
            "last_writer_wins: only the writer of n-1 is waited for",
            Invariant::Order,
            Ring { faults: zombies, ..before(BeforeForeignSend::WaitForPrevious) },
        ),
        weak(
            "last_writer_wins: all writers are waited for, no takeover",
            Invariant::Order,
            Ring { faults: zombies, ..before(BeforeForeignSend::WaitForAll) },
        ),
        weak(
            "last_writer_wins: deadline noted in the slot, no takeover",
            Invariant::Order,
            Ring {
                faults: Faults { give_ups: 2, deaths: 2, lost_puts: 1, ..NONE },
                ..before(BeforeForeignSend::RegisterInSlot)
            },
        ),
        weak(
            "last_writer_wins: a request outlives its deadline",
            Invariant::Order,
            Ring { faults: Faults { slow_requests: 1, ..NONE }, reads: Reads::Atomic, ..LAST_WRITER },
        ),
    ]
}
