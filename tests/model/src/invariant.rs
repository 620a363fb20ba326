//! What must never be broken, in any order of steps.

/// A property that every reachable state has. Models share these, so that a counterexample says in one word what was
/// lost. The ids in [`Invariant::id`] are those of the failure page of the protocol's simulation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Invariant {
    /// A commit number of a lane has one payload for ever.
    OneCommitPerNumber,
    /// The checksum in commit n+1 is that of commit n as it is stored.
    ChainIntact,
    /// Positions, watermarks, floors and manifests never go back.
    ForwardOnly,
    /// The state up to the head can be put together from the manifest and the slots after it.
    StateWhole,
    /// A load shows a head that is no older than the head was when the load began.
    LoadIsTrue,
    /// The source's checkpoint is never past the committed position.
    CheckpointCommitted,
    /// Every record changes the state exactly once.
    FoldedOnce,
    /// An effect id is sent with the bytes that were committed under it, and with no others.
    OnePayloadPerId,
    /// Every effect takes place at most once.
    EffectOnce,
    /// What was answered as done has its effect.
    NothingLost,
    /// Effects of one key take place in the order of commits.
    Order,
    /// A row is in exactly one of: result, late rows, dead letters.
    OneOutcome,
    /// A window is emitted once per generation and never changes.
    WindowOnce,
    /// A window that is emitted holds the partials of every lane.
    WindowWhole,
    /// No window closes over a record that was waiting in the source and on time.
    OnTimeCounts,
    /// No window closes before a record, of whatever lane, has passed its end.
    ClosedByRecords,
    /// An object that a slot or a manifest names is there.
    NothingReferencedMissing,
    /// A record takes effect in one generation.
    OneGeneration,
    /// When no step is left, everything is done.
    Drains,
}

impl Invariant {
    /// The id under which the project's other proofs report the same property.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::OneCommitPerNumber | Self::ChainIntact => "I1",
            Self::ForwardOnly | Self::LoadIsTrue => "I2",
            Self::CheckpointCommitted => "I3",
            Self::FoldedOnce | Self::StateWhole => "I4",
            Self::OnePayloadPerId => "I5",
            Self::EffectOnce | Self::NothingLost | Self::Order | Self::OneGeneration => "I6",
            Self::OneOutcome | Self::OnTimeCounts | Self::ClosedByRecords => "I7",
            Self::WindowOnce | Self::WindowWhole => "I8",
            Self::Drains => "I9",
            Self::NothingReferencedMissing => "I10",
        }
    }

    /// The sentence that ends a counterexample.
    #[must_use]
    pub fn broken(self) -> &'static str {
        match self {
            Self::OneCommitPerNumber => "one commit number was given twice",
            Self::ChainIntact => {
                "the checksum in the next commit is not that of the stored one: no load succeeds any more"
            }
            Self::ForwardOnly => "something that only moves forward went back",
            Self::StateWhole => "the state up to the head cannot be put together any more",
            Self::LoadIsTrue => "a load ended with a head that was already old when the load began",
            Self::CheckpointCommitted => "the source was told 'done' for records that are not committed",
            Self::FoldedOnce => "a record changed the state twice, or never",
            Self::OnePayloadPerId => "an id was sent with bytes that are not those committed under it",
            Self::EffectOnce => "one effect took place twice",
            Self::NothingLost => "something that counts as done never took effect",
            Self::Order => "an older effect took place after a newer one",
            Self::OneOutcome => "a row is in two of result, late rows and dead letters, or in none",
            Self::WindowOnce => "a window was emitted twice",
            Self::WindowWhole => "a window was emitted without a part of it, or with a part twice",
            Self::OnTimeCounts => "a window closed over a record that waited in the source and was on time",
            Self::ClosedByRecords => "a window closed although no record has passed its end",
            Self::NothingReferencedMissing => "a slot or a manifest names an object that is deleted",
            Self::OneGeneration => "a record takes effect in two generations",
            Self::Drains => "no step is left, but not everything is done",
        }
    }
}
