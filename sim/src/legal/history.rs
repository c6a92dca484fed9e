//! The history of a disk since its last power cut, and the judgement of a crash.

use std::collections::BTreeMap;

use super::event::{Event, Image, Ino, Name, Synced};
use super::file::{Act, File};
use super::names::{Keeps, Names};
use super::{Allow, Illegal, Rule};

/// What happened to a disk, as far as it matters to what a crash may leave.
///
/// ```
/// use runstone_sim::legal::{Allow, Event, History, Image, Rule, Synced};
///
/// let mut history = History::of(&Image::empty(1));
/// let name = (1, "log".to_owned());
/// for event in [
///     Event::Create { name, ino: 2 },
///     Event::Write { ino: 2, pos: 0, bytes: b"kept".to_vec(), sure: true },
///     Event::Sync { ino: 2, outcome: Synced::Done },
///     Event::SyncDir { ino: 1, outcome: Synced::Done },
///     Event::Write { ino: 2, pos: 4, bytes: b", lost".to_vec(), sure: true },
/// ] {
///     history.observe(&event);
/// }
/// let mut image = Image::empty(1);
/// image.dirs.get_mut(&1).unwrap().insert("log".to_owned(), 2);
/// image.files.insert(2, b"kept".to_vec());
/// assert!(history.judge_power_cut(&image, None, Allow::default()).is_ok());
///
/// image.files.insert(2, b"ke".to_vec());
/// let illegal = history.judge_power_cut(&image, None, Allow::default()).unwrap_err();
/// assert_eq!(illegal.rule, Rule::S1);
/// ```
#[derive(Clone, Debug)]
pub struct History {
    root: Ino,
    files: BTreeMap<Ino, File>,
    /// Directories, and whether each was ever synced (rule N3).
    dirs: BTreeMap<Ino, bool>,
    names: Names,
    events: u64,
}

impl History {
    /// A disk that durably holds this.
    pub fn of(image: &Image) -> History {
        let names = Names::durable(image);
        let mut files: BTreeMap<Ino, File> = BTreeMap::new();
        for (ino, content) in &image.files {
            files.insert(*ino, File::durable(content.clone()));
        }
        for ino in names.live.values() {
            if let Some(file) = files.get_mut(ino) {
                file.links += 1;
            }
        }
        let dirs = image.dirs.keys().map(|ino| (*ino, true)).collect();
        History { root: image.root, files, dirs, names, events: 0 }
    }

    /// Takes note of what happened next.
    pub fn observe(&mut self, event: &Event) {
        self.events += 1;
        match event {
            Event::Create { name, ino } => {
                self.files.insert(*ino, File::new(self.events));
                self.rename(&[(name.clone(), Some(*ino))], false);
            }
            Event::Mkdir { name, ino } => {
                self.dirs.insert(*ino, false);
                self.rename(&[(name.clone(), Some(*ino))], true);
            }
            Event::Link { name, ino } => self.rename(&[(name.clone(), Some(*ino))], false),
            Event::Rename { from, to, ino } => {
                self.rename(&[(from.clone(), None), (to.clone(), Some(*ino))], false);
            }
            Event::Remove { name } => self.rename(&[(name.clone(), None)], false),
            Event::Write { ino, pos, bytes, sure } if !bytes.is_empty() => {
                self.act(*ino, Act::Write { pos: *pos, bytes: bytes.clone() }, *sure);
            }
            Event::Write { .. } => {}
            Event::SetLen { ino, len, sure } => self.act(*ino, Act::SetLen(*len), *sure),
            Event::Allocate { ino, end, sure } => self.act(*ino, Act::Allocate(*end), *sure),
            Event::Sync { ino, outcome } => {
                if let Some(file) = self.files.get_mut(ino) {
                    file.sync(*outcome);
                }
            }
            Event::SyncDir { ino, outcome } => {
                let (files, dirs) = (&self.files, &self.dirs);
                let is_synced = |ino: Ino| match files.get(&ino) {
                    Some(file) => file.synced,
                    None => dirs.get(&ino).copied().unwrap_or(false),
                };
                self.names.sync(*ino, *outcome, is_synced);
                if *outcome == Synced::Done {
                    self.dirs.insert(*ino, true);
                }
            }
            Event::WritebackFailed { ino } => {
                if let Some(file) = self.files.get_mut(ino) {
                    file.doom();
                }
            }
        }
    }

    /// The call that a crash came into, as an event that has had its effect or not. A file or
    /// directory that it may have made has the number that the image tells.
    ///
    /// A real file system gives the number of a removed file to the next one at once; after a kill,
    /// where nothing that was removed comes back, such a number is that of what was being made.
    fn under_way(&self, event: &Event, image: &Image, killed: bool) -> Event {
        let is_free = |ino: Ino| {
            let is_removed = self.files.get(&ino).is_some_and(|file| file.links == 0);
            !self.knows(ino) || killed && is_removed
        };
        let made = |name: &Name| {
            let found = image.dirs.get(&name.0).and_then(|entries| entries.get(&name.1)).copied();
            found.filter(|ino| is_free(*ino)).unwrap_or(0)
        };
        let mut event = event.clone();
        match &mut event {
            Event::Create { name, ino } | Event::Mkdir { name, ino } => *ino = made(name),
            Event::Write { sure, .. }
            | Event::SetLen { sure, .. }
            | Event::Allocate { sure, .. } => *sure = false,
            // It has promised nothing; it may have failed.
            Event::Sync { outcome, .. } | Event::SyncDir { outcome, .. } => {
                *outcome = Synced::Failed;
            }
            _ => {}
        }
        event
    }

    /// Whether a power cut may leave this; if so, go on with [`History::of`] it. `under_way` is
    /// the call that it came into.
    ///
    /// Errors: the rule that forbids it.
    pub fn judge_power_cut(
        &self,
        image: &Image,
        under_way: Option<&Event>,
        mut allow: Allow,
    ) -> Result<(), Illegal> {
        if let Some(event) = under_way {
            let mut happened = self.clone();
            happened.observe(&self.under_way(event, image, false));
            return happened.judge_power_cut(image, None, allow);
        }
        self.names.may_be_left(image, Keeps::Any, |ino| self.knows(ino))?;
        for (ino, content) in &image.files {
            let Some(file) = self.files.get(ino) else { continue };
            let mut judged =
                file.may_be_left(*ino, content, Allow { garbage_sector: false, ..allow });
            if judged.is_err() && allow.garbage_sector {
                judged = file.may_be_left(*ino, content, allow);
                allow.garbage_sector &= judged.is_err();
            }
            if file.links == 0 && judged.is_err() {
                // N5: its inode may have been given to a file that was made later.
                let mut later = self.files.iter().filter(|(_, later)| later.born > file.gone);
                if later.any(|(_, later)| {
                    later
                        .may_be_left(*ino, content, Allow { garbage_sector: true, ..allow })
                        .is_ok()
                }) {
                    judged = Ok(());
                }
            }
            judged?;
        }
        self.judge_kinds(image)
    }

    /// Whether a kill of the process may leave this. `under_way` is the call that it came into;
    /// what of it took place is taken from the image, and the history goes on.
    ///
    /// Errors: the rule that forbids it.
    pub fn judge_kill(&mut self, image: &Image, under_way: Option<&Event>) -> Result<(), Illegal> {
        let before = self.judge_live(image);
        let Some(event) = under_way else { return before };
        let mut happened = self.clone();
        let mut event = self.under_way(event, image, true);
        if let Event::Write { ino, pos, bytes, .. } = &mut event
            && let Some(content) = image.files.get(ino)
        {
            *bytes = leading_part(content, *pos, bytes);
        }
        happened.observe(&event);
        let is_of_names = !matches!(
            event,
            Event::Write { .. }
                | Event::SetLen { .. }
                | Event::Allocate { .. }
                | Event::Sync { .. }
                | Event::SyncDir { .. }
                | Event::WritebackFailed { .. }
        );
        if before.is_err() || !is_of_names {
            happened.judge_live(image)?;
            *self = happened;
        }
        Ok(())
    }

    /// Rule P: nothing is lost.
    fn judge_live(&self, image: &Image) -> Result<(), Illegal> {
        self.names.may_be_left(image, Keeps::All, |ino| self.knows(ino))?;
        for (ino, content) in &image.files {
            if let Some(file) = self.files.get(ino) {
                file.may_read(*ino, content)?;
            }
        }
        self.judge_kinds(image)
    }

    /// A file is a file and a directory a directory.
    fn judge_kinds(&self, image: &Image) -> Result<(), Illegal> {
        let wrong = |ino: &&Ino| {
            (image.files.contains_key(*ino) && self.dirs.contains_key(*ino))
                || (image.dirs.contains_key(*ino) && self.files.contains_key(*ino))
        };
        match image.files.keys().chain(image.dirs.keys()).find(wrong) {
            Some(ino) => Err(Illegal::new(Rule::V, *ino, "it has changed its kind")),
            None => Ok(()),
        }
    }

    fn knows(&self, ino: Ino) -> bool {
        self.files.contains_key(&ino) || self.dirs.contains_key(&ino) || ino == self.root
    }

    fn act(&mut self, ino: Ino, act: Act, sure: bool) {
        if let Some(file) = self.files.get_mut(&ino) {
            file.act(act, sure);
        }
    }

    fn rename(&mut self, effects: &[(Name, Option<Ino>)], is_mkdir: bool) {
        for ino in effects.iter().filter_map(|(_, value)| *value) {
            if let Some(file) = self.files.get_mut(&ino) {
                file.links += 1;
            }
        }
        for ino in self.names.change(effects, is_mkdir) {
            if let Some(file) = self.files.get_mut(&ino) {
                file.links = file.links.saturating_sub(1);
                if file.links == 0 {
                    file.gone = self.events;
                }
            }
        }
    }
}

/// As much of the bytes as is there.
fn leading_part(content: &[u8], pos: u64, bytes: &[u8]) -> Vec<u8> {
    let there = usize::try_from(pos).ok().and_then(|pos| content.get(pos..)).unwrap_or_default();
    let count = bytes.iter().zip(there).take_while(|(a, b)| a == b).count();
    bytes.get(..count).unwrap_or_default().to_vec()
}
