//! How every crate writes its snapshots: into `/snapshots`, under a short name of their own.
//!
//! A crate's own tests use the same file: `#[path = "../../tests/snapshots/settings.rs"] mod
//! settings;`. The name must stand in the source as a literal: `tests/tidy.rs` looks for it, and
//! rejects a snapshot that no test names.

use std::path::{Path, PathBuf};

/// The top-level directory `snapshots`, seen from any crate of the workspace.
fn directory() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .map(|dir| dir.join("snapshots"))
        .find(|dir| dir.is_dir())
        .expect("the workspace has a directory `snapshots`")
}

/// Compares `text` with `snapshots/<name>.snap`. `about` tells the reviewer what it shows.
pub(crate) fn check(name: &str, about: &str, text: &str) {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(directory());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description(about);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
