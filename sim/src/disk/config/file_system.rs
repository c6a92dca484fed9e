//! How the file system that a disk says it is stands in artefacts: by its name.

use runstone_vfs::FileSystem;
use serde::{Deserialize, Deserializer, Serializer, de};

pub(super) fn serialize<S: Serializer>(
    file_system: &FileSystem,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(file_system.name())
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<FileSystem, D::Error> {
    let name = String::deserialize(deserializer)?;
    let known = FileSystem::ALL.into_iter().find(|file_system| file_system.name() == name);
    known.ok_or_else(|| de::Error::custom(format!("no file system is called {name}")))
}
