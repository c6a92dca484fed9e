//! Names: directories, their live and durable entries, and the ordered changes between them.
//!
//! # Invariants
//! - A change of names is one or two *effects*, each giving one name of one directory a new
//!   value; a rename has two, and both are chosen together (rule N4).
//! - When a directory sync has covered all effects of a change, the change is folded into the
//!   durable entries, and older pending effects on the same names are void.
//! - Node numbers are never used again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf, is_separator};

use super::inode::FileNode;

/// The number of the root directory.
pub(super) const ROOT: u64 = 1;

/// A directory.
#[derive(Clone, Debug, Default)]
pub(super) struct DirNode {
    /// What listing and opening see.
    pub(super) live: BTreeMap<String, u64>,
    /// What survives any crash.
    pub(super) durable: BTreeMap<String, u64>,
    /// Whether the directory was ever synced with success (rules N3, N6).
    pub(super) synced: bool,
    /// The sync before was a failure that reported success; the next one reports it.
    pub(super) late_error: bool,
}

impl DirNode {
    /// The names that calls see, or those that survive any crash.
    fn entries(&self, durable: bool) -> &BTreeMap<String, u64> {
        if durable { &self.durable } else { &self.live }
    }
}

/// What a name can name.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// A regular file.
    File(FileNode),
    /// A directory.
    Dir(DirNode),
}

/// An inode.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Its content.
    pub(super) body: Body,
    /// How many live names it has.
    pub(super) links: u64,
    /// The first node that was made after its last live name had gone: only then can its
    /// inode have been given to another file.
    pub(super) reusable_by: u64,
    /// How many handles and locks hold it.
    pub(super) opens: u64,
}

impl Node {
    pub(super) fn new(body: Body) -> Node {
        Node { body, links: 0, reusable_by: u64::MAX, opens: 0 }
    }

    pub(super) fn file(&self) -> Option<&FileNode> {
        match &self.body {
            Body::File(file) => Some(file),
            Body::Dir(_) => None,
        }
    }

    pub(super) fn is_dir(&self) -> bool {
        matches!(self.body, Body::Dir(_))
    }

    fn was_synced(&self) -> bool {
        match &self.body {
            Body::File(file) => file.synced,
            Body::Dir(dir) => dir.synced,
        }
    }
}

/// What kind of change of names it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameChange {
    Create,
    Mkdir,
    Link,
    Remove,
    Rmdir,
    Rename,
}

/// One name gets a new value.
#[derive(Clone, Debug)]
pub(super) struct Effect {
    pub(super) dir: u64,
    pub(super) name: String,
    /// The node that the name now names; `None` if it is gone.
    pub(super) value: Option<u64>,
    /// Whether a successful sync of the directory has covered it.
    pub(super) covered: bool,
}

/// One change of names since the durable state.
#[derive(Clone, Debug)]
pub(super) struct NameOp {
    pub(super) seq: u64,
    pub(super) change: NameChange,
    pub(super) effects: Vec<Effect>,
    pub(super) doomed: bool,
}

/// A path, and the directory that it starts at if it is relative.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'p>(pub(super) u64, pub(super) &'p Path);

impl<'p> At<'p> {
    /// From the root.
    pub(super) fn root(path: &'p Path) -> At<'p> {
        At(ROOT, path)
    }
}

/// Where a path leads.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// To the root, or, by `..`, to a directory without a last name.
    Dir(u64),
    /// To a name in an existing directory; the node is there if the name is.
    Entry { dir: u64, name: String, node: Option<u64> },
}

/// All nodes and names of a disk.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) nodes: BTreeMap<u64, Node>,
    pub(super) ops: Vec<NameOp>,
    next_node: u64,
}

impl Tree {
    /// An empty root, durable.
    pub(super) fn new() -> Tree {
        let root = DirNode { synced: true, ..DirNode::default() };
        let root = Node { links: 1, ..Node::new(Body::Dir(root)) };
        Tree { nodes: BTreeMap::from([(ROOT, root)]), ops: Vec::new(), next_node: ROOT + 1 }
    }

    pub(super) fn node(&self, id: u64) -> io::Result<&Node> {
        self.nodes.get(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn file_mut(&mut self, id: u64) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(&id).map(|node| &mut node.body) {
            Some(Body::File(file)) => Ok(file),
            Some(Body::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn file(&self, id: u64) -> io::Result<&FileNode> {
        self.node(id)?.file().ok_or_else(|| io::ErrorKind::IsADirectory.into())
    }

    pub(super) fn dir(&self, id: u64) -> io::Result<&DirNode> {
        match &self.node(id)?.body {
            Body::Dir(dir) => Ok(dir),
            Body::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn dir_mut(&mut self, id: u64) -> io::Result<&mut DirNode> {
        match self.nodes.get_mut(&id).map(|node| &mut node.body) {
            Some(Body::Dir(dir)) => Ok(dir),
            Some(Body::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// All files, in the order of their numbers.
    pub(super) fn files(&self) -> impl Iterator<Item = (u64, &FileNode)> {
        self.nodes.iter().filter_map(|(&id, node)| node.file().map(|file| (id, file)))
    }

    /// Follows a path from a directory, or from the root if it is absolute. A directory that was
    /// removed holds no names.
    pub(super) fn locate(&self, At(start, path): At<'_>) -> io::Result<Place> {
        let start = if path.has_root() { ROOT } else { start };
        if path.as_os_str().is_empty() || self.node(start)?.links == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        // Most paths are the name of a file in the directory of a store.
        if let Some(name) = path.to_str().filter(|name| is_plain(name)) {
            let node = self.dir(start)?.live.get(name).copied();
            return Ok(Place::Entry { dir: start, name: name.to_owned(), node });
        }
        let mut above = vec![];
        // The node so far, and the last name with the directory that it is in.
        let (mut here, mut last) = (Some(start), None);
        for component in path.components() {
            if matches!(component, Component::Prefix(_) | Component::RootDir | Component::CurDir) {
                continue;
            }
            let dir = here.ok_or(io::ErrorKind::NotFound)?;
            let entries = &self.dir(dir)?.live;
            (here, last) = if let Component::Normal(name) = component {
                let name = name.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
                above.push(dir);
                (entries.get(name).copied(), Some((dir, name)))
            } else {
                (Some(above.pop().unwrap_or_else(|| self.parent(dir))), None)
            };
        }
        Ok(match (last, here) {
            (Some((dir, name)), node) => Place::Entry { dir, name: name.to_owned(), node },
            (None, id) => Place::Dir(id.unwrap_or(start)),
        })
    }

    /// The directory that holds a directory; the root holds itself.
    fn parent(&self, id: u64) -> u64 {
        let holds = |node: &Node| match &node.body {
            Body::Dir(dir) => dir.live.values().any(|child| *child == id),
            Body::File(_) => false,
        };
        self.nodes.iter().find(|(_, node)| holds(node)).map_or(ROOT, |(parent, _)| *parent)
    }

    /// The node that a path names.
    pub(super) fn find(&self, at: At<'_>) -> io::Result<u64> {
        match self.locate(at)? {
            Place::Dir(id) => Ok(id),
            Place::Entry { node, .. } => node.ok_or_else(|| io::ErrorKind::NotFound.into()),
        }
    }

    /// What an absolute path leads to in the live or the durable tree.
    pub(super) fn lookup(&self, path: &Path, durable: bool) -> Option<u64> {
        let names = path.iter().filter_map(|part| part.to_str()).filter(|part| *part != "/");
        names
            .into_iter()
            .try_fold(ROOT, |id, name| self.dir(id).ok()?.entries(durable).get(name).copied())
    }

    /// Adds a node without a name.
    pub(super) fn add(&mut self, body: Body) -> u64 {
        let id = self.next_node;
        self.next_node += 1;
        self.nodes.insert(id, Node::new(body));
        id
    }

    /// Changes live entries, and remembers the change as pending.
    pub(super) fn change(
        &mut self,
        seq: u64,
        change: NameChange,
        effects: Vec<(u64, String, Option<u64>)>,
    ) -> io::Result<()> {
        let mut pending = Vec::with_capacity(effects.len());
        let next_node = self.next_node;
        for (dir, name, value) in effects {
            if let Some(node) = value.and_then(|id| self.nodes.get_mut(&id)) {
                node.links += 1;
            }
            let entries = &mut self.dir_mut(dir)?.live;
            let old = match value {
                Some(id) => entries.insert(name.clone(), id),
                None => entries.remove(&name),
            };
            if let Some(node) = old.and_then(|id| self.nodes.get_mut(&id)) {
                node.links = node.links.saturating_sub(1);
                node.reusable_by = if node.links == 0 { next_node } else { u64::MAX };
            }
            pending.push(Effect { dir, name, value, covered: false });
        }
        self.ops.push(NameOp { seq, change, effects: pending, doomed: false });
        Ok(())
    }

    /// Whether any change of a name is not durable.
    pub(super) fn has_pending(&self, dir: u64, name: &str) -> bool {
        self.ops.iter().flat_map(|op| &op.effects).any(|e| e.dir == dir && e.name == name)
    }

    /// A directory sync that succeeds (rules N1, N3): covers the changes of its names whose
    /// nodes had been synced, as far as the knobs ask for that.
    pub(super) fn sync_dir(&mut self, dir: u64, files_first: bool, dirs_first: bool) {
        let Tree { nodes, ops, .. } = self;
        let may_be_named = |id: &u64| {
            nodes.get(id).is_some_and(|node| {
                let needed = if node.is_dir() { dirs_first } else { files_first };
                !needed || node.was_synced()
            })
        };
        for op in ops.iter_mut().filter(|op| !op.doomed) {
            if op.effects.iter().filter_map(|effect| effect.value.as_ref()).all(may_be_named) {
                for effect in op.effects.iter_mut().filter(|effect| effect.dir == dir) {
                    effect.covered = true;
                }
            }
        }
        self.fold();
        if let Ok(node) = self.dir_mut(dir) {
            node.synced = true;
        }
    }

    /// Folds every change whose effects are all covered into the durable entries.
    fn fold(&mut self) {
        let mut kept: Vec<NameOp> = Vec::with_capacity(self.ops.len());
        for op in std::mem::take(&mut self.ops) {
            if !op.effects.iter().all(|effect| effect.covered) {
                kept.push(op);
                continue;
            }
            for effect in op.effects {
                for older in &mut kept {
                    older.effects.retain(|e| (e.dir, &e.name) != (effect.dir, &effect.name));
                }
                if let Ok(dir) = self.dir_mut(effect.dir) {
                    apply(&mut dir.durable, &effect.name, effect.value);
                }
            }
            kept.retain(|older| !older.effects.is_empty());
        }
        self.ops = kept;
    }

    /// A directory sync that fails (rule F1): dooms what it would have covered, but for new
    /// directories.
    pub(super) fn doom_dir(&mut self, dir: u64) -> u64 {
        let mut doomed = 0;
        for op in &mut self.ops {
            let here = op.effects.iter().any(|effect| effect.dir == dir);
            if here && op.change != NameChange::Mkdir && !op.doomed {
                op.doomed = true;
                doomed += 1;
            }
        }
        doomed
    }

    /// Forgets nodes that nothing can lead to any more.
    pub(super) fn sweep(&mut self) {
        if self.nodes.values().all(|node| node.links > 0 || node.opens > 0) {
            return;
        }
        let mut used = BTreeSet::from([ROOT]);
        for (&id, node) in &self.nodes {
            if node.opens > 0 || node.links > 0 {
                used.insert(id);
            }
            if let Body::Dir(dir) = &node.body {
                used.extend(dir.durable.values());
            }
        }
        for effect in self.ops.iter().flat_map(|op| &op.effects) {
            used.insert(effect.dir);
            used.extend(effect.value);
        }
        self.nodes.retain(|id, _| used.contains(id));
    }

    /// Every path of the live or the durable tree, with its node, in the order of paths.
    pub(super) fn paths(&self, durable: bool) -> Vec<(PathBuf, u64)> {
        let mut paths = vec![];
        self.walk(durable, ROOT, &mut String::from("/"), &mut BTreeSet::from([ROOT]), &mut paths);
        paths
    }

    /// The paths below a directory: each name, and behind it what is below it.
    fn walk(
        &self,
        durable: bool,
        id: u64,
        path: &mut String,
        seen: &mut BTreeSet<u64>,
        paths: &mut Vec<(PathBuf, u64)>,
    ) {
        let Ok(dir) = self.dir(id) else { return };
        for (name, &child) in dir.entries(durable) {
            let Some(node) = self.nodes.get(&child) else { continue };
            let end = path.len();
            if !path.ends_with('/') {
                path.push('/');
            }
            path.push_str(name);
            paths.push((PathBuf::from(path.as_str()), child));
            if node.is_dir() && seen.insert(child) {
                self.walk(durable, child, path, seen, paths);
            }
            path.truncate(end);
        }
    }

    /// How many names of the durable tree lead to each node that one does; the root has one.
    fn durable_links(&self) -> BTreeMap<u64, u64> {
        let mut links = BTreeMap::from([(ROOT, 1)]);
        let mut open = vec![ROOT];
        while let Some(dir) = open.pop().and_then(|id| self.dir(id).ok()) {
            for &child in dir.durable.values() {
                let Some(node) = self.nodes.get(&child) else { continue };
                let count = links.entry(child).or_default();
                *count += 1;
                if node.is_dir() && *count == 1 {
                    open.push(child);
                }
            }
        }
        links
    }

    /// Makes the durable tree the live one: what a restart after a power cut finds. Counts
    /// links anew, and forgets handles and unreachable nodes.
    pub(super) fn settle(&mut self) {
        self.ops.clear();
        let links = self.durable_links();
        self.nodes.retain(|id, _| links.contains_key(id));
        for (id, node) in &mut self.nodes {
            node.links = links.get(id).copied().unwrap_or(0);
            node.opens = 0;
            if let Body::Dir(dir) = &mut node.body {
                dir.live.clone_from(&dir.durable);
                dir.synced = true;
                dir.late_error = false;
            }
        }
    }
}

/// Whether a path is one name, and leads nowhere else.
fn is_plain(path: &str) -> bool {
    !matches!(path, "" | "." | "..") && !path.bytes().any(|byte| is_separator(byte.into()))
}

/// Gives a name its value.
pub(super) fn apply(entries: &mut BTreeMap<String, u64>, name: &str, value: Option<u64>) {
    match value {
        Some(id) => entries.insert(name.to_owned(), id),
        None => entries.remove(name),
    };
}
