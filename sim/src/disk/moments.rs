//! The images of the files at each moment: what a page shows, and no sweep pays for.
//!
//! A disk that was told to record notes, after every call and around every crash, which bytes of
//! the live and of the durable image have changed. The images themselves follow by applying the
//! changes from the first moment on.
//!
//! Invariant: recording changes nothing: neither a draw, nor a result, nor the digest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::dir::Tree;

/// Two changed ranges that are closer than this are one patch.
const GAP: usize = 16;

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MomentAt {
    /// After the call of this number.
    Call(u64),
    /// When a crash struck, before anything was lost. The call that it interrupted has had the
    /// part of its effect that it has.
    CrashBegins,
    /// After the crash: what it has left.
    CrashEnds,
    /// At the restart; rot may have come between.
    Restart,
}

/// What changed in one image of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageChange {
    /// The file.
    pub path: PathBuf,
    /// Whether it is the durable image; else the live one.
    pub durable: bool,
    /// The new size; `None` if there is no such file any more.
    pub len: Option<u64>,
    /// New bytes, by offset. What lies between the old and a greater new size without a patch
    /// reads zeros.
    pub patches: Vec<(u64, Vec<u8>)>,
}

/// A moment at which something changed, or a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at: MomentAt,
    /// What changed since the moment before.
    pub changes: Vec<ImageChange>,
}

/// Remembers the images of before, and the moments.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder {
    images: [BTreeMap<PathBuf, Vec<u8>>; 2],
    pub(super) moments: Vec<Moment>,
}

impl Recorder {
    /// Notes what changed; a call that changed nothing is no moment.
    pub(super) fn note(&mut self, at: MomentAt, tree: &Tree) {
        let mut changes = Vec::new();
        for (durable, images) in [false, true].into_iter().zip(&mut self.images) {
            let mut there = BTreeSet::new();
            for (path, id) in tree.paths(durable) {
                let Ok(file) = tree.file(id) else { continue };
                let now = if durable { &file.durable } else { &file.live };
                let is_new = !images.contains_key(&path);
                let before = images.entry(path.clone()).or_default();
                if is_new || before != now {
                    let len = Some(now.len() as u64);
                    let patches = patches(before, now);
                    before.clone_from(now);
                    changes.push(ImageChange { path: path.clone(), durable, len, patches });
                }
                there.insert(path);
            }
            images.retain(|path, _| {
                let stays = there.contains(path);
                if !stays {
                    let path = path.clone();
                    changes.push(ImageChange { path, durable, len: None, patches: vec![] });
                }
                stays
            });
        }
        if !changes.is_empty() || !matches!(at, MomentAt::Call(_)) {
            self.moments.push(Moment { at, changes });
        }
    }
}

/// The ranges of `now` that differ from `before`; zeros behind the old end differ from nothing.
fn patches(before: &[u8], now: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut patches: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut end = 0;
    for (at, byte) in now.iter().enumerate() {
        if before.get(at).copied().unwrap_or(0) == *byte {
            continue;
        }
        match patches.last_mut() {
            Some((_, bytes)) if at - end < GAP => {
                bytes.extend_from_slice(now.get(end..=at).unwrap_or_default());
            }
            _ => patches.push((at as u64, vec![*byte])),
        }
        end = at + 1;
    }
    patches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_give_the_new_bytes_from_the_old_ones() {
        let old: Vec<u8> = (0..200).collect();
        let mut new = old.clone();
        for at in [0, 1, 10, 60, 199] {
            new[at] ^= 0xff;
        }
        new.resize(300, 0);
        new[250] = 7;
        let mut built = old.clone();
        built.resize(new.len(), 0);
        let found = patches(&old, &new);
        for (pos, bytes) in &found {
            let pos = usize::try_from(*pos).unwrap();
            built[pos..pos + bytes.len()].copy_from_slice(bytes);
        }
        assert_eq!(built, new);
        assert_eq!(found.iter().map(|(pos, _)| *pos).collect::<Vec<_>>(), [0, 60, 199, 250]);
    }
}
