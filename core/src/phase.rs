//! Phases, kinds, events and effects, and which phase may follow which.
//!
//! Theory of operation. A node starts UNDEFINED and waits for its upstreams. When all have succeeded it is QUEUED: an
//! effect asks the outside for an attempt (task), for the inputs of a scope (subworkflow) or for outputs (end); a start
//! node succeeds at once. When all have settled and not all succeeded it is SKIPPED. RUNNING follows when the outside says
//! so. From QUEUED or RUNNING an attempt ends the node (SUCCEEDED, FAILED) or is followed by another (RUNNING again, a
//! scope QUEUED again). Whatever is to be stopped first passes through a waiting phase, in which the core has asked for
//! the end of the attempt and listens only for the word that it is gone:
//!
//!   RETRYING    an attempt took too long, another will follow      -> RUNNING (scope: QUEUED)
//!   FAILING     an attempt took too long, none will follow         -> FAILED
//!   TIMING_OUT  the node took too long in all                      -> TIMED_OUT
//!   ABORTING    the run is to end, or a scope above is stopped     -> ABORTED
//!
//! So a node or run that is reported ended has nothing running any more, and two attempts never overlap. An open scope has
//! nothing of its own outside: when it is stopped, what runs inside is ABORTING and the scope waits for the last of it;
//! scopes left open inside a stopped scope or run are then ABORTED without a waiting phase of their own. A scope that takes
//! another attempt sends all nodes inside back to UNDEFINED and raises their attempt numbers, so that an attempt number
//! is never used twice; that is the only way out of a terminal phase. A node that waits in RETRYING can still run out of its
//! time in all, and then ends TIMED_OUT.
//!
//! The numbers up to RECOVERED are those of flyteidl.core.NodeExecution.Phase. What is still ugly: ABORTING does not say
//! which stop it belongs to; the run or the outermost waiting scope around it does.

macro_rules! byte_enum {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $value:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[repr(u8)]
        pub enum $name { $($variant = $value),+ }

        impl $name {
            /// Every member, in the order of their numbers.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The member with a number, if there is one.
            #[inline]
            pub fn from_u8(value: u8) -> Option<Self> {
                match value { $($value => Some($name::$variant),)+ _ => None }
            }
        }
    };
}

byte_enum! {
    /// Where a node stands.
    Phase {
        Undefined = 0, Queued = 1, Running = 2, Succeeded = 3, Failing = 4, Failed = 5, Aborted = 6, Skipped = 7,
        TimedOut = 8, DynamicRunning = 9, Recovered = 10, Retrying = 11, TimingOut = 12, Aborting = 13,
    }
}

byte_enum! {
    /// Where a run stands; numbers of flyteidl.core.WorkflowExecution.Phase.
    RunPhase { Running = 2, Succeeded = 4, Failing = 5, Failed = 6, Aborted = 7, Aborting = 9 }
}

byte_enum! {
    /// What a node is.
    Kind { Task = 0, Start = 1, End = 2, Subworkflow = 3, Branch = 4, Map = 5, Gate = 6, ChildRun = 7, Dynamic = 8 }
}

byte_enum! {
    /// What happened outside.
    EventKind {
        RunCreated = 1, AttemptStarted = 2, AttemptSucceeded = 3, AttemptFailed = 4, AttemptAborted = 5, ScopeOpened = 6,
        RunAborted = 7, BranchDecided = 8, GraphGrown = 9, MapOpened = 10,
    }
}

byte_enum! {
    /// What is to be done outside.
    EffectKind {
        LaunchAttempts = 1, AbortAttempts = 2, FinishRun = 3, OpenScope = 4, ResolveOutputs = 5, DecideBranch = 6,
        OpenMap = 7,
    }
}

byte_enum! {
    /// Whose budget pays for a failed attempt.
    FailureClass { UserRecoverable = 0, SystemRecoverable = 1, Permanent = 2 }
}

byte_enum! {
    /// Why an attempt is to be aborted.
    AbortReason { RunAborted = 1, RunFailing = 2, ExecutionTimeout = 3, ActiveTimeout = 4 }
}

byte_enum! {
    /// Why an event was refused.
    Refusal {
        UnknownKind = 1, UnknownRun = 2, UnknownNode = 3, UnknownGraph = 4, NeverLaunched = 5, FutureAttempt = 6,
        WrongNodeKind = 7, NotAwaited = 8, BadArgument = 9,
    }
}

impl Refusal {
    /// The reason in words.
    pub fn text(self) -> &'static str {
        match self {
            Refusal::UnknownKind => "there is no such kind of event",
            Refusal::UnknownRun => "no such run was ever created, or its index is not the next",
            Refusal::UnknownNode => "the run has no such node",
            Refusal::UnknownGraph => "there is no such graph",
            Refusal::NeverLaunched => "the node was never launched",
            Refusal::FutureAttempt => "that attempt was not launched yet",
            Refusal::WrongNodeKind => "a node of this kind takes no such event",
            Refusal::NotAwaited => "nobody asked for the end of that attempt",
            Refusal::BadArgument => "the argument means nothing",
        }
    }
}

const fn set(phases: &[Phase]) -> u16 {
    let mut bits = 0;
    let mut index = 0;
    while index < phases.len() {
        bits |= 1 << phases[index] as u16;
        index += 1;
    }
    bits
}

use Phase::*;

/// Which phases may follow each, by its number. The rows of phases that nothing enters yet are empty.
pub const NEXT: [u16; 14] = [
    /* Undefined      */ set(&[Queued, Succeeded, Skipped]),
    /* Queued         */
    set(&[
        Running,
        Succeeded,
        Failed,
        Skipped,
        Recovered,
        DynamicRunning,
        TimingOut,
        Aborting,
    ]),
    /* Running        */
    set(&[
        Succeeded,
        Failed,
        Skipped,
        Recovered,
        DynamicRunning,
        Failing,
        Retrying,
        TimingOut,
        Aborting,
        Aborted,
    ]),
    /* Succeeded      */ set(&[Undefined]),
    /* Failing        */ set(&[Failed, Aborting, Aborted]),
    /* Failed         */ set(&[Undefined]),
    /* Aborted        */ set(&[Undefined]),
    /* Skipped        */ set(&[Undefined]),
    /* TimedOut       */ set(&[Undefined]),
    /* DynamicRunning */
    set(&[Succeeded, Failed, Failing, Retrying, TimingOut, Aborted]),
    /* Recovered      */ set(&[Undefined]),
    /* Retrying       */ set(&[Queued, Running, TimingOut, Aborting, Aborted]),
    /* TimingOut      */ set(&[TimedOut, Aborting, Aborted]),
    /* Aborting       */ set(&[Aborted]),
];

impl Phase {
    /// Whether `next` may follow this phase.
    #[inline]
    pub fn may_become(self, next: Phase) -> bool {
        NEXT[self as usize] & (1 << next as u16) != 0
    }

    /// Whether the node has ended.
    #[inline]
    pub fn is_terminal(self) -> bool {
        const TERMINAL: u16 = set(&[Succeeded, Failed, Aborted, Skipped, TimedOut, Recovered]);
        TERMINAL & (1 << self as u16) != 0
    }

    /// Whether the node has ended in a way that those behind it need not wait for.
    #[inline]
    pub fn is_settled(self) -> bool {
        self.is_terminal() && self != Aborted
    }

    /// Whether those behind the node may start.
    #[inline]
    pub fn is_good(self) -> bool {
        matches!(self, Succeeded | Recovered)
    }

    /// Whether the node failed, and its scope with it.
    #[inline]
    pub fn is_broken(self) -> bool {
        matches!(self, Failed | TimedOut)
    }

    /// Whether the node is stopped for a reason of its own; ABORTING is stopped for another's.
    #[inline]
    pub fn is_stopping(self) -> bool {
        matches!(self, Failing | Retrying | TimingOut)
    }

    /// Whether only the end of the current attempt, or of all inside, is awaited.
    #[inline]
    pub fn is_waiting(self) -> bool {
        self.is_stopping() || self == Aborting
    }

    /// Whether an attempt is or may be under way, and nobody has asked for its end.
    #[inline]
    pub fn is_active(self) -> bool {
        matches!(self, Queued | Running | DynamicRunning)
    }
}

impl Kind {
    /// Whether a node has nodes inside; they run while it is open, and it ends with them.
    #[inline]
    pub fn is_scope(self) -> bool {
        matches!(self, Kind::Subworkflow | Kind::Branch | Kind::Dynamic)
    }

    /// Whether a node counts for the parallelism of its run.
    #[inline]
    pub fn takes_slot(self) -> bool {
        matches!(self, Kind::Task | Kind::Map | Kind::ChildRun)
    }
}

impl Phase {
    /// How an attempt without failure ends: by itself, taken over from an earlier run, or as not wanted.
    #[inline]
    pub fn of_success(argument: i64) -> Option<Self> {
        match argument {
            0 => Some(Succeeded),
            1 => Some(Recovered),
            2 => Some(Skipped),
            _ => None,
        }
    }
}

impl FailureClass {
    /// The class that an event's argument names.
    #[inline]
    pub fn from_argument(argument: i64) -> Option<Self> {
        u8::try_from(argument).ok().and_then(Self::from_u8)
    }
}

impl RunPhase {
    /// Whether the run has ended.
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            RunPhase::Succeeded | RunPhase::Failed | RunPhase::Aborted
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_allows_these_steps_and_no_others() {
        let legal = [
            (Undefined, [Queued, Succeeded, Skipped].as_slice()),
            (
                Queued,
                &[
                    Running,
                    Succeeded,
                    Failed,
                    Skipped,
                    Recovered,
                    DynamicRunning,
                    TimingOut,
                    Aborting,
                ],
            ),
            (
                Running,
                &[
                    Succeeded,
                    Failed,
                    Skipped,
                    Recovered,
                    DynamicRunning,
                    Failing,
                    Retrying,
                    TimingOut,
                    Aborting,
                    Aborted,
                ],
            ),
            (
                DynamicRunning,
                &[Succeeded, Failed, Failing, Retrying, TimingOut, Aborted],
            ),
            (Recovered, &[Undefined]),
            (Succeeded, &[Undefined]),
            (Failed, &[Undefined]),
            (Aborted, &[Undefined]),
            (Skipped, &[Undefined]),
            (TimedOut, &[Undefined]),
            (Failing, &[Failed, Aborting, Aborted]),
            (Retrying, &[Queued, Running, TimingOut, Aborting, Aborted]),
            (TimingOut, &[TimedOut, Aborting, Aborted]),
            (Aborting, &[Aborted]),
        ];
        let mut allowed = 0;
        for &before in Phase::ALL {
            for &after in Phase::ALL {
                let expected = legal
                    .iter()
                    .any(|(phase, next)| *phase == before && next.contains(&after));
                assert_eq!(
                    before.may_become(after),
                    expected,
                    "{before:?} -> {after:?}"
                );
                allowed += usize::from(expected);
            }
        }
        assert_eq!(allowed, 45);
    }

    #[test]
    fn numbers_come_back_as_members() {
        for &phase in Phase::ALL {
            assert_eq!(Phase::from_u8(phase as u8), Some(phase));
        }
        assert_eq!(Phase::from_u8(14), None);
        assert_eq!(RunPhase::from_u8(1), None);
        assert_eq!(FailureClass::from_argument(-254), None);
        assert_eq!(
            FailureClass::from_argument(2),
            Some(FailureClass::Permanent)
        );
    }

    #[test]
    fn every_refusal_has_words() {
        for reason in Refusal::ALL {
            assert!(reason.text().len() > 10, "{reason:?}");
        }
    }
}
