//! The sometimes marks of the engine: each name stands at one place, says where, and is listed.
//!
//! That a name is listed the compiler checks; that what is listed stands somewhere, and at one
//! place only, it does not.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use runstone::marks::NAMES;

/// The places of each mark: the name, and the files it stands in.
fn places() -> BTreeMap<String, Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/src");
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut waiting: Vec<PathBuf> = vec![root.clone()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        if path.ends_with("tests.rs") {
            continue;
        }
        let file = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        // Unit tests reach marks, too.
        if file.ends_with("/tests.rs") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        let code = source.split("\n#[cfg(test)]\nmod ").next().unwrap().to_owned();
        for rest in code.split("sometimes!(").skip(1) {
            let Some(rest) = rest.trim_start().strip_prefix('"') else { continue };
            let name = rest.split('"').next().unwrap().to_owned();
            places.entry(name).or_default().push(file.clone());
        }
    }
    places
}

#[test]
fn every_mark_stands_at_one_place_and_every_listed_name_is_a_mark() {
    let places = places();
    let twice: Vec<_> = places.iter().filter(|(_, files)| files.len() > 1).collect();
    assert!(twice.is_empty(), "a name stands at one place: {twice:?}");
    let names: Vec<_> = places.keys().map(String::as_str).collect();
    assert_eq!(names, NAMES, "marks::NAMES lists every mark, in order, and nothing else");
    assert!(names.len() >= 100, "{} marks are too few to see much", names.len());
}

#[test]
fn the_name_of_a_mark_says_which_module_and_what_happened_there() {
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    for (name, files) in places() {
        let (module, what) = name.split_once('/').unwrap_or_else(|| panic!("{name}: MODULE/WHAT"));
        assert!(module.split('-').chain(what.split('-')).all(is_word), "{name}: kebab-case");
        let path = files.first().unwrap().trim_end_matches(".rs");
        assert!(path.split('/').any(|part| part == module), "{name} stands in {path}.rs");
    }
}
