//! Names: the changes of all directories, what syncs have covered, and which entries a crash
//! may leave (rules N1 to N4).

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Image, Ino, Name, Synced};
use super::{Illegal, Rule};

/// One name gets a new value.
#[derive(Clone, Debug)]
struct Effect {
    name: Name,
    value: Option<Ino>,
    covered: bool,
}

/// A change of names that is not durable.
#[derive(Clone, Debug)]
struct Change {
    effects: Vec<Effect>,
    doomed: bool,
    is_mkdir: bool,
}

/// Which changes a crash must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeps {
    /// None but those that are durable: a power cut.
    Any,
    /// All of them: a kill.
    All,
}

/// The names of a disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// What calls see.
    pub(super) live: BTreeMap<Name, Ino>,
    durable: BTreeMap<Name, Ino>,
    changes: Vec<Change>,
    /// Every name that a call has used.
    used: BTreeSet<Name>,
}

impl Names {
    pub(super) fn durable(image: &Image) -> Names {
        let mut names = Names::default();
        for (dir, entries) in &image.dirs {
            for (name, ino) in entries {
                names.live.insert((*dir, name.clone()), *ino);
            }
        }
        names.durable.clone_from(&names.live);
        names
    }

    /// A call has changed names. Returns the inodes that lost a name, and those that got one.
    pub(super) fn change(&mut self, effects: &[(Name, Option<Ino>)], is_mkdir: bool) -> Vec<Ino> {
        let mut lost = Vec::new();
        for (name, value) in effects {
            self.used.insert(name.clone());
            lost.extend(match value {
                Some(ino) => self.live.insert(name.clone(), *ino),
                None => self.live.remove(name),
            });
        }
        let effect = |(name, value): &(Name, Option<Ino>)| Effect {
            name: name.clone(),
            value: *value,
            covered: false,
        };
        let effects = effects.iter().map(effect).collect();
        self.changes.push(Change { effects, doomed: false, is_mkdir });
        lost
    }

    /// N1, N3, F1: a sync of a directory has ended.
    pub(super) fn sync(&mut self, dir: Ino, outcome: Synced, is_synced: impl Fn(Ino) -> bool) {
        for change in &mut self.changes {
            let here = change.effects.iter().any(|effect| effect.name.0 == dir);
            match outcome {
                Synced::Done if !change.doomed => {
                    let mut values = change.effects.iter().filter_map(|effect| effect.value);
                    if values.all(&is_synced) {
                        let here = change.effects.iter_mut().filter(|e| e.name.0 == dir);
                        here.for_each(|effect| effect.covered = true);
                    }
                }
                Synced::Failed if here && !change.is_mkdir => change.doomed = true,
                _ => {}
            }
        }
        let changes = std::mem::take(&mut self.changes);
        for change in changes {
            if !change.effects.iter().all(|effect| effect.covered) {
                self.changes.push(change);
                continue;
            }
            // It is durable: older changes of the same names are void.
            for Effect { name, value, .. } in change.effects {
                self.changes.iter_mut().for_each(|c| c.effects.retain(|e| e.name != name));
                match value {
                    Some(ino) => self.durable.insert(name, ino),
                    None => self.durable.remove(&name),
                };
            }
            self.changes.retain(|change| !change.effects.is_empty());
        }
    }

    /// The changes, apart as far as they share no name. Without this a search would go through
    /// every subset of all of them.
    fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for change in &self.changes {
            let names: BTreeSet<&Name> = change.effects.iter().map(|effect| &effect.name).collect();
            let (shared, mut apart): (Vec<_>, Vec<_>) =
                groups.into_iter().partition(|group| !group.names.is_disjoint(&names));
            let mut group = Group { names, changes: Vec::new() };
            // Of groups that shared no name so far, the order among one another is of no account.
            for other in shared {
                group.names.extend(other.names);
                group.changes.extend(other.changes);
            }
            group.changes.push(change);
            apart.push(group);
            groups = apart;
        }
        groups
    }

    /// Whether a crash may leave these entries. `is_known` says whether the trace has made, or
    /// found, an inode.
    pub(super) fn may_be_left(
        &self,
        image: &Image,
        keeps: Keeps,
        is_known: impl Fn(Ino) -> bool,
    ) -> Result<(), Illegal> {
        let mut wanted: BTreeMap<&Name, Option<Ino>> = BTreeMap::new();
        let changed = self.changes.iter().flat_map(|change| &change.effects);
        let base = if keeps == Keeps::All { &self.live } else { &self.durable };
        for name in self.durable.keys().chain(base.keys()).chain(changed.map(|e| &e.name)) {
            if let Some(entries) = image.dirs.get(&name.0) {
                wanted.insert(name, entries.get(&name.1).copied());
            }
        }
        for (dir, entries) in &image.dirs {
            for (name, ino) in entries {
                let name = (*dir, name.clone());
                let is_stray = keeps == Keeps::Any && !is_known(*ino) && !self.used.contains(&name);
                if wanted.contains_key(&name) || is_stray {
                    continue;
                }
                let what = format!("{:?} leads to inode {ino}, and never did", name.1);
                return Err(Illegal::new(
                    if is_known(*ino) { Rule::N2 } else { Rule::V },
                    *dir,
                    what,
                ));
            }
        }
        let groups = self.groups();
        let search = |durable_may_go: bool, halves: bool| {
            let is_left = |name: &Name, value: Option<Ino>| {
                self.durable.get(name) == value.as_ref() || (durable_may_go && value.is_none())
            };
            let untouched = wanted
                .iter()
                .filter(|(name, _)| !groups.iter().any(|group| group.names.contains(*name)));
            let mut untouched = untouched.map(|(name, value)| (*name, *value));
            untouched.all(|(name, value)| is_left(name, value))
                && groups.iter().all(|group| {
                    let search =
                        Search { group, wanted: &wanted, keeps, halves, is_left: &is_left };
                    search.run(group.changes.len(), &mut BTreeSet::new(), &mut BTreeSet::new())
                })
        };
        if search(false, false) {
            return Ok(());
        }
        let (rule, what) = if keeps == Keeps::All {
            (Rule::P, "names are not as they were when the process was killed")
        } else if search(false, true) {
            (Rule::N4, "half of a rename is there")
        } else if search(true, false) {
            (Rule::N1, "a change of names that was durable is undone")
        } else {
            (Rule::N2, "no subset of the changes of names leads to this")
        };
        let place = wanted.iter().find(|(name, value)| self.durable.get(**name) != value.as_ref());
        let dir = place.map_or(image.root, |(name, _)| name.0);
        let name = place.map_or("", |(name, _)| name.1.as_str());
        Err(Illegal::new(rule, dir, format!("{what}, as at {name:?}")))
    }
}

/// Changes that share names, one with the next, and no name with any other change: what is left
/// of them has nothing to do with what is left of the others.
#[derive(Debug, Default)]
struct Group<'a> {
    names: BTreeSet<&'a Name>,
    changes: Vec<&'a Change>,
}

/// Looks for a subset of a group's changes that leads to the wanted names, from the last change
/// back: the last kept change of a name decides it.
struct Search<'a, F> {
    group: &'a Group<'a>,
    wanted: &'a BTreeMap<&'a Name, Option<Ino>>,
    keeps: Keeps,
    /// To name the broken rule: renames need not be whole.
    halves: bool,
    /// Whether a name that no kept change decides may have this value.
    is_left: &'a F,
}

impl<'a, F: Fn(&Name, Option<Ino>) -> bool> Search<'a, F> {
    fn run(
        &self,
        left: usize,
        decided: &mut BTreeSet<&'a Name>,
        failed: &mut BTreeSet<(usize, Vec<&'a Name>)>,
    ) -> bool {
        let key = (left, decided.iter().copied().collect::<Vec<_>>());
        if failed.contains(&key) {
            return false;
        }
        let Some(change) = left.checked_sub(1).and_then(|last| self.group.changes.get(last)) else {
            return self.group.names.iter().all(|name| {
                let value = self.wanted.get(*name);
                decided.contains(name) || value.is_none_or(|value| (self.is_left)(name, *value))
            });
        };
        for effects in self.ways(change) {
            let fits = |effect: &&Effect| match self.wanted.get(&effect.name) {
                Some(value) => decided.contains(&effect.name) || *value == effect.value,
                None => true,
            };
            if effects.iter().all(fits) {
                let new = effects.iter().map(|effect| &effect.name);
                let new: Vec<_> = new.filter(|name| !decided.contains(name)).collect();
                decided.extend(new.iter().copied());
                let found = self.run(left - 1, decided, failed);
                decided.retain(|name| !new.contains(name));
                if found {
                    return true;
                }
            }
        }
        failed.insert(key);
        false
    }

    /// What may be left of a change: all of it, nothing, or of a rename the target with the
    /// source beside it (N4).
    fn ways<'b>(&self, change: &'b Change) -> Vec<Vec<&'b Effect>> {
        let mut ways = vec![change.effects.iter().collect::<Vec<_>>()];
        if self.keeps == Keeps::Any {
            ways.push(Vec::new());
        }
        if self.keeps == Keeps::Any && change.effects.len() == 2 {
            ways.push(change.effects.iter().filter(|effect| effect.value.is_some()).collect());
            if self.halves {
                ways.push(change.effects.iter().filter(|effect| effect.value.is_none()).collect());
            }
        }
        ways
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seed 9536 of a sweep did not end (the oracle, not the engine): every subset of the new
    /// files was tried.
    #[test]
    fn many_new_files_beside_a_durable_name_that_is_gone_are_judged_and_illegal() {
        let root = 1;
        let mut before = Image::empty(root);
        before.dirs.entry(root).or_default().insert("durable".to_owned(), 2);
        let mut names = Names::durable(&before);
        let mut after = Image::empty(root);
        for ino in 3..60 {
            let name = format!("new-{ino}");
            names.change(&[((root, name.clone()), Some(ino))], false);
            after.dirs.entry(root).or_default().insert(name, ino);
        }
        let illegal = names.may_be_left(&after, Keeps::Any, |_| true).map_err(|i| i.rule);
        assert_eq!(illegal, Err(Rule::N1));
        after.dirs.entry(root).or_default().insert("durable".to_owned(), 2);
        assert!(names.may_be_left(&after, Keeps::Any, |_| true).is_ok());
    }
}
