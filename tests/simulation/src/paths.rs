//! Named ways of recovery, counted by what is seen at the ports: a simulation that never takes one proves nothing of it.

macro_rules! paths {
    ($($name:ident: $words:literal;)*) => {
        /// A way of recovery.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each has its words beside it")]
        pub enum Path { $($name),* }

        impl Path {
            /// All of them.
            pub const ALL: &[Path] = &[$(Path::$name),*];

            /// What happens on it.
            pub fn words(self) -> &'static str {
                match self { $(Self::$name => $words),* }
            }
        }
    };
}

paths! {
    SlotTakenByAnother: "a commit finds its slot taken by another environment";
    SlotTakenByItself: "a commit finds an older attempt of its own environment in the slot";
    SlotHoldsThisAttempt: "a refused commit finds its own attempt in the slot";
    SlotLongGone: "a writer that was away finds a number far beyond its own";
    ManifestMovedByAnother: "a manifest was moved by somebody else";
    ManifestHoldsThisAttempt: "a refused manifest finds its own attempt";
    RegistryMoved: "a registration finds that another lane was registered first";
    LaneRegisteredByAnother: "a registration finds the lane registered by somebody else";
    RegistryCreatedByAnother: "a pipeline is created twice at the same time";
    LateWriteTookEffect: "a write of unknown outcome takes effect later";
    LateWriteRefused: "a write of unknown outcome is refused when it lands";
    HandOver: "a commit follows one of another environment";
    RingWrapped: "a slot is used again";
    RingWrappedManyTimes: "a slot is used for the fifth time";
    CommitSpilled: "a commit names an object";
    ManifestSpilled: "a manifest names an object";
    ManifestNamesSegment: "a manifest names a segment of the state";
    ManifestNamesSegments: "a manifest names several segments of the state";
    ManifestByAnother: "a manifest is moved by another environment than the head's";
    ManifestFirst: "a lane gets its first manifest";
    ManifestBehindCarry: "a manifest covers the commit before a carry commit";
    ManifestAtHead: "a resting head is settled into the manifest";
    CarryCommit: "a decision is committed before it is acted on";
    CarryByAnother: "a decision is committed by another environment than the one whose request was refused";
    CarryOfCarry: "a carry commit follows a carry commit";
    CarryChain: "three carry commits follow one another";
    RequestHalved: "a refused request is cut into halves";
    RequestQuartered: "a half is cut again";
    RowBecameDeadLetter: "a refused row becomes a dead letter";
    PoisonBecameDeadLetter: "a record that cannot be decoded becomes a dead letter";
    SmallerPiece: "a batch is taken in smaller pieces after a death";
    DeadlyWaits: "a record is not given up while one that began with it may be at work";
    RecordTakesLong: "a record takes long, and others are given it beside";
    DeadlyBecameLetter: "a record that kills becomes a dead letter";
    LetterKeptAgain: "a dead letter is kept a second time";
    TargetKnewTheId: "a target knows an id";
    TargetRefusedContent: "a target refuses content";
    EffectAfterHandOver: "a request takes effect through another environment than the one that committed it";
    EffectAfterHours: "a request takes effect hours after its commit";
    EffectAgainAtNone: "a target without ids applies a request twice";
    RepeatCounted: "what may be a second request to such a target is counted and reported";
    FenceRefusedRepeat: "a fence refuses what is not newer";
    EffectAgainWhereLastWins: "a row replaces itself";
    OldRowPutBack: "a row that lands after its timeout replaces a newer one";
    NewRowAfterOld: "a newer row replaces one that was put back";
    EarlierSenderAwaited: "a head is taken over where the last writer wins";
    EffectOfUnknown: "a request that counts as unknown takes effect later";
    UnknownLetGo: "a request that is sent at most once counts as done, nobody knows how";
    UnknownReported: "requests of unknown outcome are reported";
    OfferedTakenUp: "a request that is sent at most once is sent by another environment";
    BatchSkipped: "a whole batch is skipped";
    BatchSkippedInPart: "the first part of a batch is skipped";
    BatchDoneByAnother: "an invocation succeeds with records that another one has committed";
    DoneInSpiteOfConflict: "an invocation succeeds after its commit was refused";
    DoneInSpiteOfUnknown: "an invocation succeeds after an unknown outcome";
    InvocationUnavailable: "an invocation ends with a passing fault";
    InvocationNeedsPerson: "an invocation ends with something that a person must look at";
    InvocationFenced: "an old version finds a record of the next one";
    InvocationKilledByTime: "an invocation is killed when its time is up";
    AnswerNobodyHears: "an invocation answers after the mapping gave up";
    EnvironmentLostMidway: "an environment dies while it works";
    CommitOfNextVersion: "the next version goes on with a lane";
    LateRow: "a row comes too late for its window";
    WindowClosed: "a window is closed";
    WindowAcrossCommits: "a window is closed that several commits filled";
    SettledByTick: "the tick settles what a lane owes";
    TickFoundNothing: "the tick finds nothing to do";
    TickBesideBatch: "a tick runs beside a batch";
    WarmBatch: "a warm batch reads nothing";
    ColdAfterFailure: "a lane is loaded again after a failure";
    PartOfEventDone: "one partition of an event is done, another is not";
    EventFailedAsWhole: "a done partition comes again because another one failed";
    CheckpointWentBack: "the mapping goes back behind what is committed";
    MendedByPerson: "a lane goes on after a person has mended its target";
    SealStored: "a lane hands a part of a window over";
    SealStoredAgain: "a seal is there already";
    SealWithoutRows: "a lane without rows tells how far it is";
    SealRemoved: "a seal that nobody needs is removed";
    ClosedOverLanes: "windows are closed over lanes";
    CloseResumed: "another environment goes on with a close lane";
    CloseRefused: "a close commit finds that somebody was first or that the registry has changed";
    IdleLaneAdvanced: "a lane without records follows the others";
    LaneAnnounced: "an idle lane that has sealed nothing says how far it is";
    SilentLaneAdvanced: "a silent lane moves on to what it has seen";
    LaneJoinedWithoutRecords: "a partition that has not begun gets its lane";
    LaneBeginsBehindFloor: "a lane begins after windows were closed";
    ObjectRemoved: "an object that nothing refers to is removed";
    RepairOpened: "a generation opens that sends nothing again";
    SilentCommit: "a commit owes nothing of what was sent before";
    SilentClose: "windows are closed that were sent before";
    SpokenAfterSilence: "a lane has read what was sent and sends again";
    LaneSplit: "a lane ends and several continue it";
    LanesMerged: "lanes end and one continues them";
    WindowsInherited: "a lane begins with open windows of others";
    WindowsDivided: "open windows are divided by key";
    ChildCameTooEarly: "a partition waits for those that it continues";
    RecordsPassedOver: "a batch is committed although one before it is not";
    BatchGivenUp: "the mapping gives a batch up";
    GapRefused: "records that were passed over are refused";
    RestoredWithin: "the table is restored within a generation";
    RestoredBehindMark: "the table is restored to a generation before the newest";
    SourceCreatedAgain: "the source is deleted and created again";
    ReplacementNoticed: "a guard tells that table or source were replaced";
    GenerationOpened: "a new generation opens";
    SourceReadAgain: "the source is read again in a new generation";
    RingSealed: "a ring is sealed";
    SealedWhileOwing: "a ring is sealed while it owes something";
    SealingGoneOnWith: "another environment goes on with a sealing";
    WriterMetSeal: "a writer finds its ring sealed";
    GenerationOutlived: "an invocation finds that its generation has ended";
    BeginningNamed: "a generation opens that reads behind positions";
    OwedAbandoned: "a generation opens although something is owed";
    SourceDidNotAnswer: "the source is asked and does not answer";
    DrainedAtRest: "everything drains when faults stop";
}
