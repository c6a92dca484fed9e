//! The contract of [`Vfs`] as a program: what every implementation must do, short of a crash.
//!
//! Two tools:
//! - [`checks`]: one named check for each sentence of the trait's documentation that can be
//!   observed; [`run_all`] runs them, and [`contract_tests!`](crate::contract_tests) makes a
//!   named test of each.
//! - [`script`]: random calls with comparable outcomes, to run two implementations side by side.
//!
//! A check panics with what was done, what was expected and what was found. All of them expect
//! a disk without faults, and space for a few hundred KiB. What a crash may do is the
//! simulator's to check.
//!
//! ```
//! use std::path::Path;
//! use runstone_vfs::{MemVfs, Vfs, contract};
//!
//! contract::run_all(&MemVfs::new(), Path::new("/"));
//!
//! // One of them, under directories of its own.
//! let vfs = MemVfs::new();
//! contract::check("rename_moves_a_file").run(&vfs, Path::new("/"));
//! assert_eq!(vfs.list(Path::new("/")).unwrap()[0].name, "rename_moves_a_file");
//! ```

mod bytes;
mod dirs;
mod locks;
mod names;
pub mod script;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::{FileKind, Vfs, VfsFile, read_full_at, write_all_at};

/// One named check of the contract.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    name: &'static str,
    body: fn(&dyn Vfs, &Path),
}

impl Check {
    /// The sentence that it checks, as an identifier.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Makes a directory of the check's name in `dir`, which must exist, and works there, by its
    /// path; then a second one, which it opens, and works there by names in it. It leaves its
    /// files behind.
    ///
    /// # Panics
    /// If the implementation breaks the contract.
    pub fn run(&self, vfs: &dyn Vfs, dir: &Path) {
        let by_path = dir.join(self.name);
        ok("create_dir for the check", vfs.create_dir(&by_path));
        (self.body)(vfs, &by_path);
        let opened = dir.join(format!("{}.opened", self.name));
        ok("create_dir for the check", vfs.create_dir(&opened));
        let opened = ok("open_dir for the check", vfs.open_dir(&opened));
        (self.body)(&*opened, Path::new("."));
    }
}

/// Runs every check in directories of their own in `dir`, which must exist.
///
/// # Panics
/// If the implementation breaks the contract.
pub fn run_all(vfs: &dyn Vfs, dir: &Path) {
    for check in checks() {
        check.run(vfs, dir);
    }
}

/// The check of this name.
///
/// # Panics
/// If there is none.
pub fn check(name: &str) -> Check {
    match checks().iter().find(|check| check.name == name) {
        Some(check) => *check,
        None => panic!("no check of the contract is called {name}"),
    }
}

/// Lists the checks once, for [`checks`] and for `contract_tests!`. (`$dollar` is a `$` for the
/// inner macro.)
macro_rules! define_checks {
    ($dollar:tt $($module:ident::$name:ident,)*) => {
        /// Every check of the contract.
        pub fn checks() -> &'static [Check] {
            &[$(Check { name: stringify!($name), body: $module::$name }),*]
        }

        /// Makes a `#[test]` of every check of the contract, named after it. The argument is
        /// the path of a function that takes a [`Check`](crate::contract::Check) and runs it
        /// on a fresh file system.
        ///
        /// ```
        /// use std::path::Path;
        /// use runstone_vfs::{MemVfs, contract::Check};
        ///
        /// fn in_memory(check: Check) {
        ///     check.run(&MemVfs::new(), Path::new("/"));
        /// }
        ///
        /// mod mem {
        ///     runstone_vfs::contract_tests!(super::in_memory);
        /// }
        /// # fn main() {}
        /// ```
        #[macro_export]
        macro_rules! contract_tests {
            ($dollar run:path) => {
                $(
                    #[test]
                    fn $name() {
                        $dollar run($crate::contract::check(stringify!($name)));
                    }
                )*
            };
        }
    };
}

define_checks! { $
    names::create_makes_an_empty_file_to_read_and_write,
    names::create_never_opens_what_exists,
    names::create_needs_its_directory,
    names::open_finds_the_file_and_changes_nothing,
    names::open_refuses_what_is_missing_or_a_directory,
    names::rename_moves_a_file,
    names::rename_replaces_the_target_and_spares_its_handles,
    names::rename_onto_the_same_file_changes_nothing,
    names::rename_refuses_directories_and_changes_nothing,
    names::rename_reports_the_source_before_the_target,
    names::link_gives_one_file_two_equal_names,
    names::link_never_replaces_and_refuses_directories,
    names::remove_frees_the_name_and_spares_handles,
    names::remove_refuses_what_is_missing_or_a_directory,
    names::remove_dir_takes_only_an_empty_directory,
    names::list_tells_each_name_once_with_its_kind,
    names::list_refuses_what_is_no_directory,
    names::create_dir_makes_one_level_and_never_replaces,
    names::sync_dir_takes_only_a_directory,
    names::a_path_through_a_file_is_not_a_directory,
    dirs::open_dir_takes_only_a_directory,
    dirs::names_in_an_open_directory_are_those_of_its_path,
    dirs::the_directory_above_is_two_dots,
    dirs::a_directory_tells_one_file_system_whatever_becomes_of_it,
    dirs::a_directory_that_was_removed_holds_no_names,
    dirs::stat_tells_kind_and_identity,
    dirs::an_identity_follows_the_file_and_not_its_name,
    bytes::written_bytes_are_read_back_through_every_handle,
    bytes::reads_stop_at_the_end_of_the_file,
    bytes::a_gap_behind_the_old_end_reads_as_zeros,
    bytes::a_write_inside_the_file_spares_its_neighbours,
    bytes::empty_reads_and_writes_change_nothing,
    bytes::a_vectored_write_puts_its_slices_one_after_the_other,
    bytes::a_vectored_write_of_many_empty_slices_still_gets_on,
    bytes::set_len_cuts_and_what_was_cut_never_comes_back,
    bytes::set_len_extends_with_zeros,
    bytes::allocate_extends_and_keeps_the_content,
    bytes::allocate_of_nothing_changes_nothing,
    bytes::len_and_is_empty_tell_the_size,
    bytes::a_handle_for_reading_refuses_every_change,
    bytes::a_range_beyond_the_greatest_size_is_invalid_input,
    bytes::sync_succeeds_and_changes_nothing,
    bytes::one_handle_serves_several_threads,
    locks::an_exclusive_lock_excludes_every_other,
    locks::shared_locks_share_and_exclude_the_exclusive_one,
    locks::a_lock_needs_an_existing_file,
    locks::a_lock_leaves_the_file_alone,
    locks::a_lock_belongs_to_the_file_and_not_to_its_name,
    locks::a_lock_lends_the_file_that_it_locks,
}

/// The value, or a panic that says what failed.
#[track_caller]
fn ok<T>(what: &str, result: io::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: expected Ok, found {:?} ({error})", error.kind()),
    }
}

/// Panics unless the call failed with this kind.
#[track_caller]
fn fails<T: Debug>(what: &str, result: io::Result<T>, kind: io::ErrorKind) {
    match result {
        Ok(value) => panic!("{what}: expected {kind:?}, found Ok({value:?})"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{what}: the wrong kind of error ({error})");
        }
    }
}

/// Creates a file with this content.
#[track_caller]
fn put(vfs: &dyn Vfs, path: &Path, bytes: &[u8]) -> Arc<dyn VfsFile> {
    let file = ok("create", vfs.create(path));
    ok("write", write_all_at(&*file, bytes, 0));
    file
}

/// All bytes of a file.
#[track_caller]
fn content(file: &dyn VfsFile) -> Vec<u8> {
    let len = ok("len", file.len());
    let Ok(len) = usize::try_from(len) else { panic!("a file of {len} bytes") };
    let mut bytes = vec![0xEE; len + 1];
    let n = ok("read", read_full_at(file, &mut bytes, 0));
    assert_eq!(n, len, "the bytes read up to the end differ from the length");
    bytes.truncate(n);
    bytes
}

/// All bytes of the file of this name.
#[track_caller]
fn content_at(vfs: &dyn Vfs, path: &Path) -> Vec<u8> {
    content(&*ok("open", vfs.open(path, crate::Access::Read)))
}

/// The names and kinds in a directory, sorted.
#[track_caller]
fn listing(vfs: &dyn Vfs, path: &Path) -> Vec<(String, FileKind)> {
    let mut entries: Vec<_> = ok("list", vfs.list(path))
        .into_iter()
        .map(|entry| (entry.name.to_string_lossy().into_owned(), entry.kind))
        .collect();
    entries.sort();
    entries
}
