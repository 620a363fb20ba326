//! Rejections.

use super::{Case, breaks, holds};
use crate::invariant::Invariant;
use crate::models::requests::{Decision, Faults, Requests, Rules};

const FAULTS: Faults = Faults { flips: 1, deaths: 1, lost_puts: 1, slow_requests: 0 };

/// An outbox that is replaced in slot n, with everything one could add to make it safe.
const IN_PLACE: (bool, bool, bool, bool) = (true, true, true, true);

fn in_place(
    (compares_outbox, checks_next, chain_covers_outbox, takeover_checks): (bool, bool, bool, bool),
) -> Decision {
    Decision::InPlace { compares_outbox, checks_next, chain_covers_outbox, takeover_checks }
}

pub(super) fn cases() -> Vec<Case> {
    let steady = Faults { flips: 0, ..FAULTS };
    let right = [
        holds(
            "requests",
            "two writers, a target that changes its mind",
            Requests::<2> { rules: Rules::RIGHT, faults: Faults { flips: 2, slow_requests: 1, ..FAULTS } },
        ),
        holds(
            "requests",
            "two writers, takeover, late requests",
            Requests::<2> {
                rules: Rules { take_over: true, ..Rules::RIGHT },
                faults: Faults { slow_requests: 1, ..FAULTS },
            },
        ),
        holds(
            "requests",
            "rejections are not final: first attempt and takeover",
            Requests::<2> { rules: Rules::NOT_FINAL, faults: Faults { slow_requests: 1, ..FAULTS } },
        ),
        holds(
            "requests",
            "three writers, a target that changes its mind",
            Requests::<3> { rules: Rules::RIGHT, faults: Faults { slow_requests: 1, ..FAULTS } },
        ),
    ];
    let weak = |name, invariant, rules, faults| breaks("requests", name, invariant, Requests::<2> { rules, faults });
    let decided = |decision| Rules { decision, ..Rules::RIGHT };
    let with = |change: fn(&mut (bool, bool, bool, bool))| {
        let mut parts = IN_PLACE;
        change(&mut parts);
        Rules { take_over: true, ..decided(in_place(parts)) }
    };
    let mut cases = Vec::from(right);
    cases.extend([
        weak(
            "decided at send time: two senders decide differently",
            Invariant::OneOutcome,
            decided(Decision::AtSendTime),
            steady,
        ),
        weak(
            "decided at send time: whole and halves",
            Invariant::EffectOnce,
            Rules { final_rejections: false, ..decided(Decision::AtSendTime) },
            Faults { flips: 1, deaths: 1, lost_puts: 0, slow_requests: 0 },
        ),
        weak(
            "a rejection is no proof, and decides all the same",
            Invariant::EffectOnce,
            Rules { final_rejections: false, ..Rules::RIGHT },
            Faults { flips: 1, deaths: 0, lost_puts: 0, slow_requests: 0 },
        ),
        weak(
            "the same with takeover",
            Invariant::EffectOnce,
            Rules { first_attempt_decides: false, ..Rules::NOT_FINAL },
            Faults { flips: 1, deaths: 0, lost_puts: 0, slow_requests: 0 },
        ),
        weak(
            "a first attempt decides, others may have sent before it",
            Invariant::EffectOnce,
            Rules { take_over: false, ..Rules::NOT_FINAL },
            Faults { flips: 1, deaths: 0, lost_puts: 0, slow_requests: 0 },
        ),
        breaks(
            "requests",
            "replaced in slot n if it holds number n, late put",
            Invariant::ChainIntact,
            Requests::<1> {
                rules: Rules { take_over: false, ..with(|parts| (parts.0, parts.1) = (false, false)) },
                faults: steady,
            },
        ),
        weak(
            "replaced in slot n, checksum without the outbox",
            Invariant::OneOutcome,
            Rules { take_over: false, ..with(|parts| (parts.0, parts.1, parts.2) = (false, false, false)) },
            steady,
        ),
        weak(
            "replaced by compare-and-swap beside a takeover",
            Invariant::ChainIntact,
            with(|parts| parts.1 = false),
            steady,
        ),
        weak(
            "the same, checksum without the outbox",
            Invariant::OneOutcome,
            with(|parts| (parts.1, parts.2) = (false, false)),
            steady,
        ),
        weak(
            "replaced if it holds number n, beside a takeover",
            Invariant::ChainIntact,
            with(|parts| (parts.0, parts.1) = (false, false)),
            steady,
        ),
        weak(
            "replaced by compare-and-swap, takeover checks nothing",
            Invariant::OneOutcome,
            with(|parts| (parts.1, parts.2, parts.3) = (false, false, false)),
            steady,
        ),
        weak(
            "replaced beside n+1, rejection not final",
            Invariant::EffectOnce,
            Rules { final_rejections: false, take_over: false, ..with(|parts| (parts.1, parts.2) = (false, false)) },
            Faults { flips: 1, deaths: 0, lost_puts: 0, slow_requests: 0 },
        ),
        weak(
            "replaced if n+1 is absent, takeover carries an old outbox",
            Invariant::OneOutcome,
            with(|parts| (parts.2, parts.3) = (false, false)),
            steady,
        ),
        weak(
            "replaced by compare-and-swap, rejection not final",
            Invariant::EffectOnce,
            Rules { final_rejections: false, take_over: false, ..with(|parts| parts.2 = false) },
            Faults { flips: 1, deaths: 0, lost_puts: 0, slow_requests: 0 },
        ),
    ]);
    cases
}
