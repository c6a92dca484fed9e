//! Two implementations side by side: the first difference, or how often what happened.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::{Call, Handles, apply, random_call};
use crate::{Access, FileKind, Vfs, read_full_at};

/// How often each method had each outcome, by [`Call::method`] and [`Outcome::label`](super::Outcome::label).
pub type Tally = BTreeMap<(&'static str, String), u64>;

/// Where two implementations parted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The number of calls that had equal outcomes before.
    pub after: u64,
    /// The call that had not; none if only what was left at the end differs.
    pub call: Option<Call>,
    /// What the left one did.
    pub left: String,
    /// What the right one did.
    pub right: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.call {
            Some(call) => write!(f, "call {} differs: {call:?}", self.after)?,
            None => write!(f, "after {} equal calls the files differ", self.after)?,
        }
        write!(f, "\n left: {}\nright: {}", self.left, self.right)
    }
}

impl std::error::Error for Difference {}

/// Does `calls` random calls on two file systems, each below an empty directory of its own, and
/// compares every outcome, and all that is there at the end.
///
/// # Errors
/// The first difference.
pub fn compare(
    left: (&dyn Vfs, &Path),
    right: (&dyn Vfs, &Path),
    calls: u64,
    next_u64: &mut dyn FnMut() -> u64,
) -> Result<Tally, Box<Difference>> {
    let mut tally = Tally::new();
    let mut states = (Handles::default(), Handles::default());
    for after in 0..calls {
        let call = random_call(next_u64);
        let one = apply(left.0, left.1, &mut states.0, &call);
        let two = apply(right.0, right.1, &mut states.1, &call);
        if one != two {
            let (left, right) = (format!("{one:?}"), format!("{two:?}"));
            return Err(Box::new(Difference { after, call: Some(call), left, right }));
        }
        *tally.entry((call.method(), one.label())).or_default() += 1;
    }
    let ends = (dump(left.0, left.1), dump(right.0, right.1));
    match ends {
        (Ok(one), Ok(two)) if one == two => Ok(tally),
        (one, two) => Err(Box::new(Difference {
            after: calls,
            call: None,
            left: format!("{one:?}"),
            right: format!("{two:?}"),
        })),
    }
}

/// Everything below `root`, sorted: the relative path, and the bytes of a file. What is neither
/// file nor directory is left out.
///
/// # Errors
/// Those of listing, opening and reading.
pub fn dump(vfs: &dyn Vfs, root: &Path) -> io::Result<BTreeMap<PathBuf, Option<Vec<u8>>>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        for entry in vfs.list(&root.join(&dir))? {
            let path = dir.join(&entry.name);
            match entry.kind {
                FileKind::Dir => {
                    found.insert(path.clone(), None);
                    dirs.push(path);
                }
                FileKind::File => {
                    let file = vfs.open(&root.join(&path), Access::Read)?;
                    let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
                    let mut bytes = vec![0; len];
                    let n = read_full_at(&*file, &mut bytes, 0)?;
                    bytes.truncate(n);
                    found.insert(path, Some(bytes));
                }
                FileKind::Other => {}
            }
        }
    }
    Ok(found)
}
