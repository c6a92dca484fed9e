//! The disk itself under watch: in a share of the seeds its calls are recorded, and every image
//! that a crash leaves is checked against the statement of the legal states.
//!
//! Invariant: a seed that is watched makes the same calls, with the same results, as one that is
//! not.

use std::sync::Arc;

use runstone_vfs::Vfs;

use super::case::{Case, World};
use crate::disk::{CrashKind, SimVfs};
use crate::legal::{Allow, History};
use crate::record::{Log, Recorder, image};

/// One in so many seeds is watched.
const ONE_IN: u64 = 64;

/// What is known of a disk, from its calls.
#[derive(Debug)]
pub(super) struct Watch {
    vfs: Recorder,
    log: Arc<Log>,
    history: History,
    allow: Allow,
    /// How many images were judged.
    pub(super) images: u64,
    /// The first that was not legal.
    pub(super) illegal: Option<String>,
}

impl Watch {
    /// Watches the disk of one in so many cases. In the world of rot the images that crashes
    /// leave are changed behind the back of the disk.
    pub(super) fn of(case: &Case, disk: &SimVfs) -> Option<Watch> {
        if !case.seed.is_multiple_of(ONE_IN) || case.world == World::Rot {
            return None;
        }
        let (vfs, log) = Recorder::of(disk);
        let history = History::of(&image(disk));
        let garbage_sector = case.world == World::GarbageSector;
        let allow = Allow { garbage_sector, ..Allow::default() };
        Some(Watch { vfs, log, history, allow, images: 0, illegal: None })
    }

    /// What the engine is given.
    pub(super) fn vfs(&self) -> Arc<dyn Vfs> {
        Arc::new(self.vfs.clone())
    }

    /// The disk has crashed and was not restarted yet.
    pub(super) fn crashed(&mut self, disk: &SimVfs, kind: CrashKind) {
        let (events, under_way) = self.log.take();
        events.iter().for_each(|event| self.history.observe(event));
        let left = image(disk);
        let judged = match kind {
            CrashKind::Power => {
                let judged = self.history.judge_power_cut(&left, under_way.as_ref(), self.allow);
                self.history = History::of(&left);
                judged
            }
            CrashKind::Process => self.history.judge_kill(&left, under_way.as_ref()),
        };
        self.images += 1;
        if let Err(illegal) = judged {
            self.illegal.get_or_insert(illegal.to_string());
        }
    }
}
