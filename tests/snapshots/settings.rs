//! How every crate writes its snapshots: into `/snapshots`, under a short name of their own.
//!
//! A crate's own tests use the same file, as a module of this name at their root:
//! `#[path = "../../tests/snapshots/settings.rs"] mod settings;`. The name of a snapshot must
//! stand in the source as a literal: `tests/tidy.rs` looks for it, and rejects a snapshot that
//! no test names.

use std::path::{Path, PathBuf};

/// The top-level directory `snapshots`, seen from any crate of the workspace.
fn directory() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .map(|dir| dir.join("snapshots"))
        .find(|dir| dir.is_dir())
        .expect("the workspace has a directory `snapshots`")
}

/// The settings of a snapshot; `about` tells the reviewer what it shows.
pub(crate) fn settings(about: &str) -> insta::Settings {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(directory());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description(about);
    settings
}

/// `check!(name, about, text)` compares `text` with `snapshots/<name>.snap`. A macro, so that
/// the snapshot names the file of the test that made it.
macro_rules! check {
    ($name:expr, $about:expr, $text:expr $(,)?) => {
        $crate::settings::settings($about).bind(|| insta::assert_snapshot!($name, $text))
    };
}

pub(crate) use check;
