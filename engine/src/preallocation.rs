//! What the log file is extended with ahead of its records, and on which file systems that helps.
//!
//! Invariant: the choice changes how long a sync takes and how much room the log takes, and
//! nothing of what is promised.

use runstone_vfs::FileSystem;

/// What the log file is extended with ahead of its records; see
/// [`Options::preallocation`](crate::Options::preallocation).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preallocation {
    /// What helps on the file system of the directory that was opened:
    /// [`Zeros`](Preallocation::Zeros) on those that write in place, and
    /// [`Off`](Preallocation::Off) on those that do not, or are not known.
    ///
    /// Decision 0012 has the table, the measurements and the command that makes them; what was
    /// chosen is told by [`RecoveryReport::preallocation`](crate::RecoveryReport::preallocation).
    #[default]
    Auto,
    /// Zeros are written: dearer once, and then a sync has to write nothing but the records, where
    /// the file system overwrites in place.
    Zeros,
    /// Room is reserved without a write, where the file system can. That settles the file's size;
    /// what was reserved is marked as written at each sync.
    Reserved,
    /// Nothing: each write extends the file.
    Off,
}

impl Preallocation {
    /// What this choice comes to on a file system; never [`Preallocation::Auto`].
    ///
    /// ```
    /// use runstone::Preallocation;
    /// use runstone::vfs::FileSystem;
    ///
    /// assert_eq!(Preallocation::Auto.on(FileSystem::Ext), Preallocation::Zeros);
    /// assert_eq!(Preallocation::Auto.on(FileSystem::Btrfs), Preallocation::Off);
    /// assert_eq!(Preallocation::Reserved.on(FileSystem::Btrfs), Preallocation::Reserved);
    /// ```
    #[must_use]
    pub const fn on(self, file_system: FileSystem) -> Preallocation {
        match self {
            Preallocation::Auto => helps_on(file_system),
            chosen => chosen,
        }
    }
}

/// What helps on a file system; see decision 0012.
const fn helps_on(file_system: FileSystem) -> Preallocation {
    match file_system {
        // They overwrite in place, so a sync has no metadata to write; an overlay hands every call
        // to the file system beneath, which as a rule is one of these.
        FileSystem::Ext | FileSystem::Xfs | FileSystem::Overlay => Preallocation::Zeros,
        // They never overwrite, so zeros are written in vain; or a sync costs nothing; or what lies
        // beneath is not known, and zeros may be sent over a network for nothing.
        _ => Preallocation::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_written_where_files_are_overwritten_in_place_and_nothing_elsewhere() {
        let in_place = [FileSystem::Ext, FileSystem::Xfs, FileSystem::Overlay];
        for file_system in FileSystem::ALL {
            let expected = match in_place.contains(&file_system) {
                true => Preallocation::Zeros,
                false => Preallocation::Off,
            };
            assert_eq!(Preallocation::Auto.on(file_system), expected, "{file_system}");
        }
    }

    #[test]
    fn what_was_chosen_by_name_holds_on_every_file_system() {
        for chosen in [Preallocation::Zeros, Preallocation::Reserved, Preallocation::Off] {
            for file_system in FileSystem::ALL {
                assert_eq!(chosen.on(file_system), chosen, "{file_system}");
            }
        }
    }
}
