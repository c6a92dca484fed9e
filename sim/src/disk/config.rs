//! The knobs of the simulated disk: one for each rule of the fault model.
//!
//! What the disk does *by itself* (crash states, background writeback, evictions, listing
//! order) is here. What *fails* is in [`FaultPlan`](super::FaultPlan).

mod file_system;

use std::collections::BTreeMap;

use runstone_vfs::FileSystem;
use serde::{Deserialize, Serialize};

use crate::rng::Rng;

/// A probability, in parts of 65,536.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Odds(pub u32);

impl Odds {
    /// The parts of a whole.
    const WHOLE: u32 = 1 << 16;
    /// It never happens; the draw is still made, so that the knob shifts no other draw.
    pub const NEVER: Odds = Odds(0);
    /// It always happens.
    pub const ALWAYS: Odds = Odds(Odds::WHOLE);

    /// One case in `n`; never, for 0.
    pub const fn one_in(n: u32) -> Odds {
        Odds(if n == 0 { 0 } else { Odds::WHOLE.div_ceil(n) })
    }

    /// Draws.
    pub(super) fn hit(self, rng: &mut Rng) -> bool {
        rng.next_u64() >> 48 < u64::from(self.0)
    }
}

/// How a power cut chooses what was kept (rules D2, D3, K).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CrashModel {
    /// Nothing beyond what was durable.
    DropAll,
    /// Everything.
    KeepAll,
    /// Each sector of each file independently any of its versions; sizes and names
    /// independently too.
    Sectors,
    /// Each write keeps any number of its leading bytes.
    BytePrefix,
    /// A prefix of all operations of the disk, in program order; the last one torn.
    PrefixTornLast,
    /// Sizes are kept and data is lost; what has no older version reads zeros.
    ZeroFill,
    /// Sizes are kept and data is lost; what has no older version reads garbage.
    GarbageFill,
    /// One operation is lost, and all others are kept as far as newer bytes of a sector
    /// imply the older ones.
    AloneLost,
    /// One operation is kept, with what it implies, and all others are lost.
    AloneKept,
    /// Every name is kept; data and sizes are lost.
    NamesOnly,
    /// Every size is kept; data is lost, names by rule N2.
    SizesOnly,
    /// One of the others is drawn for each file.
    Mix,
}

impl CrashModel {
    /// All models.
    pub const ALL: [CrashModel; 12] = [
        CrashModel::DropAll,
        CrashModel::KeepAll,
        CrashModel::Sectors,
        CrashModel::BytePrefix,
        CrashModel::PrefixTornLast,
        CrashModel::ZeroFill,
        CrashModel::GarbageFill,
        CrashModel::AloneLost,
        CrashModel::AloneKept,
        CrashModel::NamesOnly,
        CrashModel::SizesOnly,
        CrashModel::Mix,
    ];
}

/// How a power cut chooses among the unsynced changes of names (rule N2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NameModel {
    /// Any subset.
    Subset,
    /// A prefix in program order.
    Prefix,
    /// None of them.
    None,
    /// All of them.
    All,
}

/// The knobs of the disk. [`DiskConfig::default`] has every rule on (worlds of their own,
/// D4, R and the worlds of [`FaultPlan`](super::FaultPlan), excepted);
/// [`DiskConfig::plain`] has every one off.
///
/// It serialises as text, so that an artefact of a failure can hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskConfig {
    /// D2, D3: the weight of each crash model; a model without a weight is never drawn.
    pub models: BTreeMap<CrashModel, u32>,
    /// D3: a write is followed by background writeback of some of its sectors, and perhaps
    /// of the size.
    pub early_writeback: Odds,
    /// D3: a write is followed by background writeback of the whole file.
    pub early_flush: Odds,
    /// D4 (a world of its own, off by default): at a power cut one sector that an unsynced
    /// write touched is garbage, including neighbouring bytes that were durable.
    pub garbage_sector: Odds,
    /// S1: the size is chosen independently of the data, in models that draw it; else it
    /// follows the newest data that was kept.
    pub size_independent: Odds,
    /// S2: a sector whose data was lost, and that has no older version, reads garbage.
    pub lost_data_garbage: Odds,
    /// S2: the preallocated and never written sectors of a file read garbage after a power
    /// cut, even if they had been synced; drawn for each file.
    pub prealloc_garbage: Odds,
    /// N2: the weight of each way to choose among unsynced changes of names.
    pub name_models: BTreeMap<NameModel, u32>,
    /// N3: a directory sync saves the name of a file only if the file had been synced.
    pub names_need_synced_files: bool,
    /// N3, N6: likewise for the name of a directory.
    pub names_need_synced_dirs: bool,
    /// N4: an unsynced rename that is kept leaves the old name there too.
    pub rename_keeps_both: Odds,
    /// N5: a file that comes back after its removal has the content of a file that was
    /// created later.
    pub inode_reuse: Odds,
    /// V: directories list in a random order; else in that of the names.
    pub list_shuffled: bool,
    /// V: a power cut leaves an unknown file or directory somewhere.
    pub stray_files: Odds,
    /// F1: a read evicts doomed sectors of its file, which then fall back to what is on disk.
    pub evict_doomed: Odds,
    /// F2: the first write after a failed sync is doomed too, as if it had been issued while
    /// the sync was failing.
    pub doom_next_write: Odds,
    /// F2: an error of background writeback is not reported to a handle that was opened
    /// after it.
    pub error_unseen_by_new_handles: Odds,
    /// F2: what a sync covers that reports an *earlier* failure is doomed too; else it is
    /// durable although the sync fails.
    pub reported_error_dooms: Odds,
    /// R: how many older versions of each sector are kept for
    /// [`restore_older_sector`](super::SimVfs::restore_older_sector); 0 keeps none.
    pub sector_history: u32,
    /// F3: how many bytes all files together may have.
    pub capacity: Option<u64>,
    /// The largest size of a file that the process may write, as `Vfs::file_bytes_max` tells; more
    /// is `FileTooLarge`, and counts as the end of the process. At most what the simulator can
    /// hold, whose files have no holes.
    pub file_bytes_max: u64,
    /// The file system cannot preallocate: `allocate` is `Unsupported`.
    pub no_preallocation: bool,
    /// On a full disk a file cannot be made shorter either, as where that is written elsewhere
    /// first (copy on write).
    pub cut_needs_room: bool,
    /// What the disk says it is. It behaves the same, whatever it says.
    #[serde(with = "file_system")]
    pub file_system: FileSystem,
}

impl Default for DiskConfig {
    fn default() -> DiskConfig {
        let weights = CrashModel::ALL.map(|model| {
            let weight = match model {
                CrashModel::Sectors | CrashModel::Mix => 4,
                CrashModel::BytePrefix | CrashModel::PrefixTornLast => 3,
                CrashModel::AloneLost | CrashModel::AloneKept => 2,
                _ => 1,
            };
            (model, weight)
        });
        DiskConfig {
            models: BTreeMap::from(weights),
            early_writeback: Odds::one_in(16),
            early_flush: Odds::one_in(256),
            garbage_sector: Odds::NEVER,
            size_independent: Odds::one_in(2),
            lost_data_garbage: Odds::one_in(3),
            prealloc_garbage: Odds::one_in(4),
            name_models: BTreeMap::from([
                (NameModel::Subset, 4),
                (NameModel::Prefix, 2),
                (NameModel::None, 1),
                (NameModel::All, 1),
            ]),
            names_need_synced_files: true,
            names_need_synced_dirs: true,
            rename_keeps_both: Odds::one_in(16),
            inode_reuse: Odds::one_in(16),
            list_shuffled: true,
            stray_files: Odds::one_in(64),
            evict_doomed: Odds::one_in(8),
            doom_next_write: Odds::one_in(4),
            error_unseen_by_new_handles: Odds::one_in(2),
            reported_error_dooms: Odds::one_in(2),
            sector_history: 0,
            capacity: None,
            file_bytes_max: 256 << 20,
            no_preallocation: false,
            cut_needs_room: false,
            file_system: FileSystem::Unknown,
        }
    }
}

impl DiskConfig {
    /// The kindest disk: a power cut loses exactly what was not synced, a directory sync
    /// saves every name, and nothing is ever garbage.
    pub fn plain() -> DiskConfig {
        DiskConfig {
            models: BTreeMap::from([(CrashModel::DropAll, 1)]),
            early_writeback: Odds::NEVER,
            early_flush: Odds::NEVER,
            garbage_sector: Odds::NEVER,
            size_independent: Odds::NEVER,
            lost_data_garbage: Odds::NEVER,
            prealloc_garbage: Odds::NEVER,
            name_models: BTreeMap::from([(NameModel::None, 1)]),
            names_need_synced_files: false,
            names_need_synced_dirs: false,
            rename_keeps_both: Odds::NEVER,
            inode_reuse: Odds::NEVER,
            list_shuffled: false,
            stray_files: Odds::NEVER,
            evict_doomed: Odds::NEVER,
            doom_next_write: Odds::NEVER,
            error_unseen_by_new_handles: Odds::NEVER,
            reported_error_dooms: Odds::NEVER,
            sector_history: 0,
            capacity: None,
            file_bytes_max: 256 << 20,
            no_preallocation: false,
            cut_needs_room: false,
            file_system: FileSystem::Unknown,
        }
    }

    /// This configuration with one crash model only.
    #[must_use]
    pub fn only(mut self, model: CrashModel) -> DiskConfig {
        self.models = BTreeMap::from([(model, 1)]);
        self
    }

    /// This configuration with one model for names only.
    #[must_use]
    pub fn only_names(mut self, model: NameModel) -> DiskConfig {
        self.name_models = BTreeMap::from([(model, 1)]);
        self
    }
}
