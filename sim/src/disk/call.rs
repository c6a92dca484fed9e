//! The kinds of calls: what is counted, traced, crashed and failed.

use serde::{Deserialize, Serialize};

/// The kinds of calls that a disk serves, counts, and fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the method of Vfs or VfsFile of that name")]
pub enum CallKind {
    Open,
    Create,
    Rename,
    Link,
    Remove,
    RemoveDir,
    List,
    CreateDir,
    SyncDir,
    Lock,
    Read,
    Write,
    Sync,
    SetLen,
    Allocate,
    Len,
    OpenDir,
    Stat,
}

impl CallKind {
    /// All kinds.
    pub const ALL: [CallKind; 18] = [
        CallKind::Open,
        CallKind::Create,
        CallKind::Rename,
        CallKind::Link,
        CallKind::Remove,
        CallKind::RemoveDir,
        CallKind::List,
        CallKind::CreateDir,
        CallKind::SyncDir,
        CallKind::Lock,
        CallKind::Read,
        CallKind::Write,
        CallKind::Sync,
        CallKind::SetLen,
        CallKind::Allocate,
        CallKind::Len,
        CallKind::OpenDir,
        CallKind::Stat,
    ];

    /// Whether a call of this kind can change the disk (a sync changes what is durable).
    pub fn changes(self) -> bool {
        !matches!(
            self,
            CallKind::Open
                | CallKind::List
                | CallKind::Lock
                | CallKind::Read
                | CallKind::Len
                | CallKind::OpenDir
                | CallKind::Stat
        )
    }

    /// Whether a call of this kind needs a descriptor.
    pub fn opens(self) -> bool {
        matches!(
            self,
            CallKind::Open | CallKind::Create | CallKind::List | CallKind::Lock | CallKind::OpenDir
        )
    }

    /// Whether a call of this kind changes a name; a sync of a directory does not.
    pub fn changes_a_name(self) -> bool {
        matches!(
            self,
            CallKind::Create
                | CallKind::Rename
                | CallKind::Link
                | CallKind::Remove
                | CallKind::RemoveDir
                | CallKind::CreateDir
        )
    }

    /// Whether a call of this kind can take more of the disk's room.
    pub fn takes_room(self) -> bool {
        matches!(
            self,
            CallKind::Create
                | CallKind::CreateDir
                | CallKind::Link
                | CallKind::Write
                | CallKind::Allocate
        )
    }

    /// Whether a call of this kind is rare in a program that mostly appends: it changes names,
    /// sizes or directories.
    pub fn is_rare(self) -> bool {
        self.changes() && !matches!(self, CallKind::Write | CallKind::Sync | CallKind::Allocate)
    }

    /// The name as traces write it.
    pub fn name(self) -> &'static str {
        match self {
            CallKind::Open => "open",
            CallKind::Create => "create",
            CallKind::Rename => "rename",
            CallKind::Link => "link",
            CallKind::Remove => "remove",
            CallKind::RemoveDir => "remove_dir",
            CallKind::List => "list",
            CallKind::CreateDir => "create_dir",
            CallKind::SyncDir => "sync_dir",
            CallKind::Lock => "lock",
            CallKind::Read => "read",
            CallKind::Write => "write",
            CallKind::Sync => "sync",
            CallKind::SetLen => "set_len",
            CallKind::Allocate => "allocate",
            CallKind::Len => "len",
            CallKind::OpenDir => "open_dir",
            CallKind::Stat => "stat",
        }
    }

    /// A stable number for the digest.
    pub(super) fn code(self) -> u8 {
        CallKind::ALL.iter().zip(1..).find(|(kind, _)| **kind == self).map_or(0, |(_, code)| code)
    }
}
