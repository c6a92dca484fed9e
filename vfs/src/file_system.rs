//! Which file system a directory lies on.
//!
//! Invariant: a table and nothing else. What follows from it is for the caller to say.

use std::fmt;

/// Which file system a directory lies on, as far as the operating system tells; see
/// [`Vfs::file_system`](crate::Vfs::file_system).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FileSystem {
    /// ext4, ext3 or ext2, which bear one mark; also with a journal of data.
    Ext,
    /// XFS, also with shared extents (`reflink`).
    Xfs,
    /// Btrfs.
    Btrfs,
    /// F2FS.
    F2fs,
    /// ZFS.
    Zfs,
    /// Bcachefs.
    Bcachefs,
    /// tmpfs or ramfs: memory of the machine.
    Tmpfs,
    /// overlayfs: it does not tell what lies beneath.
    Overlay,
    /// NFS, as a client sees it.
    Nfs,
    /// SMB or CIFS, as a client sees it.
    Smb,
    /// 9P, as a guest or a container sees what its host shares.
    NineP,
    /// A program that serves a file system by FUSE; what it does beneath is not told.
    Fuse,
    /// NTFS, by the driver of Linux.
    Ntfs,
    /// FAT or exFAT.
    Fat,
    /// Memory of this process ([`MemVfs`](crate::MemVfs)).
    Memory,
    /// Any other, and where the system does not tell.
    #[default]
    Unknown,
}

impl FileSystem {
    /// All of them, each once.
    pub const ALL: [FileSystem; 16] = [
        FileSystem::Ext,
        FileSystem::Xfs,
        FileSystem::Btrfs,
        FileSystem::F2fs,
        FileSystem::Zfs,
        FileSystem::Bcachefs,
        FileSystem::Tmpfs,
        FileSystem::Overlay,
        FileSystem::Nfs,
        FileSystem::Smb,
        FileSystem::NineP,
        FileSystem::Fuse,
        FileSystem::Ntfs,
        FileSystem::Fat,
        FileSystem::Memory,
        FileSystem::Unknown,
    ];

    /// The one that marks itself so in the answer of Linux's `statfs` (`f_type`, the low 32 bits).
    ///
    /// ```
    /// use runstone_vfs::FileSystem;
    ///
    /// assert_eq!(FileSystem::from_linux_magic(0x9123_683e), FileSystem::Btrfs);
    /// assert_eq!(FileSystem::from_linux_magic(0), FileSystem::Unknown);
    /// ```
    #[must_use]
    pub const fn from_linux_magic(magic: u32) -> FileSystem {
        match magic {
            0xef53 => FileSystem::Ext,
            0x5846_5342 => FileSystem::Xfs,
            0x9123_683e => FileSystem::Btrfs,
            0xf2f5_2010 => FileSystem::F2fs,
            0x2fc1_2fc1 => FileSystem::Zfs,
            0xca45_1a4e => FileSystem::Bcachefs,
            // tmpfs, ramfs
            0x0102_1994 | 0x8584_58f6 => FileSystem::Tmpfs,
            0x794c_7630 => FileSystem::Overlay,
            0x6969 => FileSystem::Nfs,
            // CIFS, SMB 2 and 3, the old smbfs
            0xff53_4d42 | 0xfe53_4d42 | 0x517b => FileSystem::Smb,
            0x0102_1997 => FileSystem::NineP,
            0x6573_5546 => FileSystem::Fuse,
            // ntfs3, the old driver
            0x7366_746e | 0x5346_544e => FileSystem::Ntfs,
            // FAT, exFAT
            0x4d44 | 0x2011_bab0 => FileSystem::Fat,
            _ => FileSystem::Unknown,
        }
    }

    /// A short name, as in `ext4`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            FileSystem::Ext => "ext4",
            FileSystem::Xfs => "xfs",
            FileSystem::Btrfs => "btrfs",
            FileSystem::F2fs => "f2fs",
            FileSystem::Zfs => "zfs",
            FileSystem::Bcachefs => "bcachefs",
            FileSystem::Tmpfs => "tmpfs",
            FileSystem::Overlay => "overlay",
            FileSystem::Nfs => "nfs",
            FileSystem::Smb => "smb",
            FileSystem::NineP => "9p",
            FileSystem::Fuse => "fuse",
            FileSystem::Ntfs => "ntfs",
            FileSystem::Fat => "fat",
            FileSystem::Memory => "memory",
            FileSystem::Unknown => "unknown",
        }
    }
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// As `linux/magic.h` and the file systems' own headers have them.
    const MARKS: [(u32, FileSystem); 19] = [
        (0x0000_ef53, FileSystem::Ext),
        (0x5846_5342, FileSystem::Xfs),
        (0x9123_683e, FileSystem::Btrfs),
        (0xf2f5_2010, FileSystem::F2fs),
        (0x2fc1_2fc1, FileSystem::Zfs),
        (0xca45_1a4e, FileSystem::Bcachefs),
        (0x0102_1994, FileSystem::Tmpfs),
        (0x8584_58f6, FileSystem::Tmpfs),
        (0x794c_7630, FileSystem::Overlay),
        (0x0000_6969, FileSystem::Nfs),
        (0xff53_4d42, FileSystem::Smb),
        (0xfe53_4d42, FileSystem::Smb),
        (0x0000_517b, FileSystem::Smb),
        (0x0102_1997, FileSystem::NineP),
        (0x6573_5546, FileSystem::Fuse),
        (0x7366_746e, FileSystem::Ntfs),
        (0x5346_544e, FileSystem::Ntfs),
        (0x0000_4d44, FileSystem::Fat),
        (0x2011_bab0, FileSystem::Fat),
    ];

    #[test]
    fn a_mark_is_known_and_one_bit_beside_it_is_not() {
        let marks: BTreeSet<u32> = MARKS.iter().map(|(mark, _)| *mark).collect();
        assert_eq!(marks.len(), MARKS.len());
        for (mark, file_system) in MARKS {
            assert_eq!(FileSystem::from_linux_magic(mark), file_system, "{mark:x}");
            for bit in 0..u32::BITS {
                let other = mark ^ (1 << bit);
                let expected = MARKS
                    .iter()
                    .find(|(mark, _)| *mark == other)
                    .map_or(FileSystem::Unknown, |m| m.1);
                assert_eq!(FileSystem::from_linux_magic(other), expected, "{other:x}");
            }
        }
    }

    #[test]
    fn every_file_system_but_memory_and_the_unknown_has_a_mark_and_each_its_own_name() {
        let marked: BTreeSet<_> = MARKS.iter().map(|(_, file_system)| *file_system).collect();
        let names: BTreeSet<_> = FileSystem::ALL.iter().map(|f| f.name()).collect();
        assert_eq!(names.len(), FileSystem::ALL.len());
        for file_system in FileSystem::ALL {
            let unmarked = [FileSystem::Memory, FileSystem::Unknown].contains(&file_system);
            assert_ne!(marked.contains(&file_system), unmarked, "{file_system}");
        }
    }
}
