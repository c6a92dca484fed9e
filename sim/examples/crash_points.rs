//! The crash points of a small program: a notebook that replaces its file.
//!
//! `cargo run -p runstone-sim --example crash_points`
//!
//! The first version writes the new pages to a temporary file and renames it over the old one,
//! as one often sees it. `crash_points` finds the crash that loses a page, reduces it to the one
//! operation that has to be lost, and prints a test. The second version syncs the file, and
//! still loses a page. The third is right.

use std::io;
use std::path::Path;
use std::sync::Arc;

use runstone_sim::explore::{Options, crash_points_with};
use runstone_vfs::{Access, Vfs, read_full_at, write_all_at};

/// The pages that the program writes in a trial.
const PAGES: [&str; 3] = ["one\n", "two\n", "three\n"];

/// What the program syncs.
#[derive(Clone, Copy)]
struct Syncs {
    file: bool,
    directory: bool,
}

/// Adds page after page. `promised` counts those that the user was told are kept.
fn notebook(disk: &dyn Vfs, promised: &mut usize, syncs: Syncs) -> io::Result<()> {
    let (temporary, notes) = (Path::new("/notes.tmp"), Path::new("/notes"));
    for pages in 1..=PAGES.len() {
        let text = PAGES.get(..pages).unwrap_or_default().concat();
        let file = disk.create(temporary)?;
        write_all_at(&*file, text.as_bytes(), 0)?;
        if syncs.file {
            file.sync()?; // the content, before it gets the name that counts
        }
        disk.rename(temporary, notes)?;
        if syncs.directory {
            disk.sync_dir(Path::new("/"))?; // the name
        }
        *promised = pages;
    }
    Ok(())
}

fn careless(disk: Arc<dyn Vfs>, promised: &mut usize) -> io::Result<()> {
    notebook(&*disk, promised, Syncs { file: false, directory: true })
}

fn hasty(disk: Arc<dyn Vfs>, promised: &mut usize) -> io::Result<()> {
    notebook(&*disk, promised, Syncs { file: true, directory: false })
}

fn careful(disk: Arc<dyn Vfs>, promised: &mut usize) -> io::Result<()> {
    notebook(&*disk, promised, Syncs { file: true, directory: true })
}

/// After a restart the notebook has whole pages: those that were promised, and perhaps the one
/// that was being added.
fn pages_are_kept(disk: Arc<dyn Vfs>, promised: &usize) -> Result<(), String> {
    let found = match disk.open(Path::new("/notes"), Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.to_string()),
        Ok(file) => {
            let mut bytes = [0; 64];
            let read = read_full_at(&*file, &mut bytes, 0).map_err(|error| error.to_string())?;
            String::from_utf8_lossy(bytes.get(..read).unwrap_or_default()).into_owned()
        }
    };
    let is_whole = |pages: usize| PAGES.get(..pages).is_some_and(|pages| pages.concat() == found);
    match is_whole(*promised) || is_whole(promised + 1) {
        true => Ok(()),
        false => Err(format!("{promised} pages were promised, and there is {found:?}")),
    }
}

fn main() {
    let named = |program: &str| Options {
        names: (program.to_owned(), "pages_are_kept".to_owned()),
        ..Options::default()
    };
    for (name, program) in [("careless", careless as fn(_, &mut _) -> _), ("hasty", hasty)] {
        match crash_points_with(&named(name), program, pages_are_kept) {
            Ok(explored) => unreachable!("no crash breaks {name}: {explored}"),
            Err(violation) => println!("{name}: {violation}\n{}", violation.test()),
        }
    }
    match crash_points_with(&named("careful"), careful, pages_are_kept) {
        Ok(explored) => println!("careful: {explored}"),
        Err(violation) => unreachable!("{violation}"),
    }
}
