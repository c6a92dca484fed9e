//! What can strike a call: every kind of fault that the call can meet, in every flavour.

use crate::disk::{CallKind, Fault, FaultKind, SeenCall, SyncFlavour};
use crate::harness::World;

/// How the disk behaves where its rules leave it a choice that is no power cut's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Temper {
    /// What a failed sync has left is in the cache to stay.
    Mild,
    /// It is evicted as soon as possible, the write that follows is lost with it, and nobody who
    /// opens the file later is told.
    Harsh,
}

/// What strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strike {
    pub(super) fault: Fault,
    pub(super) temper: Temper,
    pub(super) world: World,
}

/// The shares of a write or read that take place before it fails.
const SHARES: [u16; 3] = [0, 1 << 15, u16::MAX];

/// Everything that can strike a call. In a world of its own: what lies.
pub(super) fn strikes(call: &SeenCall) -> Vec<Strike> {
    let mut all = Vec::new();
    let mut add = |fault, tempers: &[Temper], world| {
        all.extend(tempers.iter().map(|temper| Strike { fault, temper: *temper, world }));
    };
    let both = [Temper::Mild, Temper::Harsh];
    let mild = [Temper::Mild];
    let is_sync = matches!(call.kind, CallKind::Sync | CallKind::SyncDir);
    for kind in FaultKind::ALL.into_iter().filter(|kind| kind.suits(call.kind)) {
        let fault = Fault::new(kind);
        let strict = World::Strict;
        match kind {
            FaultKind::SyncLies | FaultKind::SyncLate => add(fault, &both, World::Lying),
            // An ancestor that may not be opened is not the store's: it was not made for it.
            FaultKind::Denied if is_above(call) => {}
            FaultKind::Io | FaultKind::NoSpace | FaultKind::Quota if is_sync => {
                let flavours = [
                    SyncFlavour::Doomed,
                    SyncFlavour::Reverted,
                    SyncFlavour::SizeKept,
                    SyncFlavour::Harmless,
                ];
                let few = kind != FaultKind::Io || call.kind == CallKind::SyncDir;
                for flavour in flavours {
                    let fault = fault.flavour(flavour);
                    match flavour {
                        SyncFlavour::Doomed if kind == FaultKind::Io => add(fault, &both, strict),
                        SyncFlavour::Doomed | SyncFlavour::Harmless => add(fault, &mild, strict),
                        // The entries of a directory know two flavours only.
                        _ if few => {}
                        _ => add(fault, &mild, strict),
                    }
                }
            }
            FaultKind::BackgroundFails => add(fault, &both, strict),
            FaultKind::Short => {
                for part in [0, 1 << 15] {
                    add(Fault { part, ..fault }, &mild, strict);
                }
            }
            FaultKind::NoSpace | FaultKind::Quota | FaultKind::FileSize | FaultKind::Io
                if call.kind == CallKind::Write =>
            {
                for part in SHARES {
                    add(Fault { part, ..fault }, &mild, strict);
                }
            }
            // With effect and without.
            FaultKind::Io if call.kind.changes() => {
                add(fault, &mild, strict);
                add(fault.without_effect(), &mild, strict);
            }
            FaultKind::NoSpace | FaultKind::Quota | FaultKind::FileSize
                if call.kind == CallKind::Allocate =>
            {
                add(fault, &mild, strict);
                add(fault.without_effect(), &mild, strict);
            }
            _ => add(fault.without_effect(), &mild, strict),
        }
    }
    all
}

fn is_above(call: &SeenCall) -> bool {
    call.path.ends_with("..") || call.path.ends_with("../.")
}
