//! What a crash did, for people and for an oracle: which model chose, and what was lost.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::call::CallKind;
use super::config::{CrashModel, NameModel};

/// What kind of crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CrashKind {
    /// The power is cut: what was not synced may be lost (rules D, S, N).
    Power,
    /// The process is killed: everything written stays visible and is still not durable
    /// (rule P).
    Process,
}

/// When, relative to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum When {
    /// The call has no effect.
    Before,
    /// The call was under way.
    Inside,
    /// The call has had its whole effect, but its caller does not live to see it.
    After,
}

/// A moment to crash at (rule K).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CrashPoint {
    /// The number of the call, from 0 (see [`SimVfs::calls`](super::SimVfs::calls)).
    pub call: u64,
    /// When, relative to it.
    pub when: When,
}

/// One write that was lost, wholly or in part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostWrite {
    /// Its place in the order of changes.
    pub seq: u64,
    /// Where it wrote.
    pub pos: u64,
    /// How many bytes.
    pub len: u64,
    /// The sectors that do not contain it.
    pub lost_sectors: Vec<u64>,
    /// The first byte that a torn write lost, if it was cut inside a sector.
    pub torn_at: Option<u64>,
}

/// What became of one file that had unsynced changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLoss {
    /// A path that led to it before the crash, or its number if there was none.
    pub path: PathBuf,
    /// The model that chose for it.
    pub model: CrashModel,
    /// The durable size, the live one, and the one that was kept.
    pub sizes: (u64, u64, u64),
    /// The writes that were lost.
    pub lost: Vec<LostWrite>,
    /// Sectors that read garbage now.
    pub garbage: Vec<u64>,
}

/// A crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashReport {
    /// What kind.
    pub kind: CrashKind,
    /// The number of calls that had been made.
    pub calls: u64,
    /// The call that it struck, and when; `None` for a crash between calls.
    pub at: Option<(CallKind, When)>,
    /// The model that chose, for a power cut.
    pub model: Option<CrashModel>,
    /// How names were chosen.
    pub names: Option<NameModel>,
    /// Files with unsynced changes.
    pub files: Vec<FileLoss>,
    /// Changes of names that were kept although never synced.
    pub names_kept: Vec<String>,
    /// Changes of names that were lost.
    pub names_lost: Vec<String>,
    /// Anything else: reused inodes, stray files.
    pub notes: Vec<String>,
}

impl CrashReport {
    pub(super) fn new(kind: CrashKind, calls: u64, at: Option<(CallKind, When)>) -> CrashReport {
        CrashReport {
            kind,
            calls,
            at,
            model: None,
            names: None,
            files: vec![],
            names_kept: vec![],
            names_lost: vec![],
            notes: vec![],
        }
    }

    /// Whether the crash took anything away.
    pub fn lost_anything(&self) -> bool {
        !self.names_lost.is_empty()
            || self.files.iter().any(|file| {
                file.sizes.1 != file.sizes.2 || !file.lost.is_empty() || !file.garbage.is_empty()
            })
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            CrashKind::Power => write!(f, "power cut after {} calls", self.calls)?,
            CrashKind::Process => write!(f, "process killed after {} calls", self.calls)?,
        }
        if let Some((call, when)) = self.at {
            let when = match when {
                When::Before => "before",
                When::Inside => "inside",
                When::After => "after",
            };
            write!(f, ", {when} {}", call.name())?;
        }
        if let Some(model) = self.model {
            write!(f, "; model {model:?}")?;
        }
        if let Some(names) = self.names {
            write!(f, ", names {names:?}")?;
        }
        writeln!(f)?;
        for file in &self.files {
            let (durable, live, kept) = file.sizes;
            write!(f, "  {}: size {kept} (durable {durable}, live {live})", file.path.display())?;
            writeln!(f, ", {:?}", file.model)?;
            for write in &file.lost {
                let LostWrite { seq, pos, len, .. } = write;
                write!(
                    f,
                    "    write {seq} at {pos}+{len} not in sectors {:?}",
                    write.lost_sectors
                )?;
                match write.torn_at {
                    Some(byte) => writeln!(f, ", torn at byte {byte}")?,
                    None => writeln!(f)?,
                }
            }
            if !file.garbage.is_empty() {
                writeln!(f, "    garbage in sectors {:?}", file.garbage)?;
            }
        }
        for name in &self.names_kept {
            writeln!(f, "  kept, never synced: {name}")?;
        }
        for name in &self.names_lost {
            writeln!(f, "  lost: {name}")?;
        }
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        Ok(())
    }
}
