//! Races among threads: one thread never meets them, a schedule explorer does.
//!
//! Invariant: they come behind all others, in the order of their ids.

/// Hands them to the list of all bugs, behind the others.
macro_rules! with_races {
    ($($others:tt)*) => {
        bugs! {
            $($others)*
            ;
            S01 Overtaken
                "What a step has taken from the queue keeps no flag up."
            S02 AskUnseen
                "A tick does not see what a full batch asked for while it waited for the writer."
            S03 LeadForgotten
                "A thread that was told to lead and was answered meanwhile forgets the lead."
            S04 VersionOutsideLock
                "A leader picks the version before it has the writer's lock."
            S05 PublishedBeforeLogged
                "A group is published before it is logged."
            S06 PublishedBeforeApplied
                "A group's version is published before its changes are applied."
            S07 SnapshotBeforeLock
                "A snapshot picks its version before it has the memtable's lock."
            S08 LeadDropped
                "A leader leaves although somebody waits, and tells nobody."
            S09 ClosedInHaste
                "A close does not look again for what a leader put back."
            S10 SyncBesideGate
                "A sync runs beside another one."
            S11 BellUnheard
                "A ring between two waits of the background thread is lost."
        }
    };
}
