//! The layers of the engine: which module may import which.

use std::collections::{BTreeMap, BTreeSet};

use crate::{code, files, read, report};

/// The modules of the engine from the bottom up, and what each may import. A module stands below
/// everything that may import it, so the table has no cycle; what is absent is as much of a rule
/// (the store knows neither log nor runs; nothing below `shell` knows threads).
const LAYERS: &[(&str, &[&str])] = &[
    ("planted", &[]),
    ("marks", &[]),
    ("sync", &[]),
    ("types", &[]),
    ("error", &["types"]),
    ("clock", &["sync"]),
    ("cache", &["error", "sync"]),
    ("names", &[]),
    ("handles", &["error", "names", "sync"]),
    ("memory", &[]),
    ("home", &[]),
    ("preallocation", &[]),
    ("durability", &[]),
    ("retention", &[]),
    ("options", &["durability", "error", "memory", "planted", "preallocation", "retention"]),
    ("codec", &["types"]),
    ("seal", &[]),
    ("table", &["cache", "codec", "error", "handles", "names", "options", "seal", "types"]),
    ("lock_file", &["names"]),
    ("failure", &["error"]),
    ("place", &["cache", "clock", "error", "failure", "handles", "names", "sync"]),
    ("log", &["codec", "error", "failure", "names", "options", "place", "preallocation", "seal"]),
    ("manifest", &["codec", "error", "failure", "log", "names", "place", "seal", "types"]),
    ("levels", &["codec", "error", "manifest", "sync", "table", "types"]),
    (
        "series",
        &["cache", "error", "failure", "handles", "names", "place", "sync", "table", "types"],
    ),
    ("removals", &["sync", "types"]),
    (
        "store",
        &[
            "cache", "clock", "codec", "error", "home", "levels", "memory", "options", "removals",
            "sync", "table", "types",
        ],
    ),
    ("runs", &["codec", "error", "home", "removals", "store", "sync", "table", "types"]),
    (
        "compaction",
        &[
            "cache", "clock", "codec", "error", "failure", "levels", "names", "options", "place",
            "removals", "runs", "series", "store", "sync", "table", "types",
        ],
    ),
    ("effect", &["codec", "removals", "runs", "store", "types"]),
    (
        "flush",
        &[
            "codec", "error", "failure", "handles", "levels", "manifest", "names", "place",
            "removals", "runs", "series", "store", "sync", "table", "types",
        ],
    ),
    ("batch", &["codec", "error", "options", "types"]),
    (
        "commit",
        &[
            "clock",
            "codec",
            "compaction",
            "effect",
            "error",
            "failure",
            "flush",
            "levels",
            "log",
            "manifest",
            "memory",
            "names",
            "options",
            "place",
            "removals",
            "runs",
            "series",
            "store",
            "sync",
            "table",
            "types",
        ],
    ),
    (
        "recovery",
        &[
            "cache", "clock", "codec", "effect", "error", "failure", "flush", "levels", "log",
            "manifest", "names", "options", "place", "removals", "runs", "store", "sync", "types",
        ],
    ),
    (
        "verify",
        &[
            "codec", "error", "flush", "levels", "log", "manifest", "names", "place", "recovery",
            "removals", "runs", "store", "sync", "table", "types",
        ],
    ),
    ("fuzzing", &["codec", "log", "manifest", "options", "seal", "table", "types"]),
    ("shell", &["clock", "commit", "error", "sync", "types"]),
    (
        "database",
        &[
            "batch",
            "cache",
            "clock",
            "codec",
            "commit",
            "error",
            "failure",
            "home",
            "lock_file",
            "log",
            "manifest",
            "memory",
            "names",
            "options",
            "place",
            "preallocation",
            "recovery",
            "removals",
            "runs",
            "shell",
            "store",
            "sync",
            "types",
            "verify",
        ],
    ),
    ("kv", &["batch", "database", "error", "options", "types"]),
];
/// Imports that break the table and are known: to be removed, not to be added to.
const KNOWN_UPWARD: &[(&str, &str, &str)] = &[];

/// The modules of the engine that a source names as `crate::module`.
fn imported_modules(source: &str) -> BTreeSet<String> {
    let code = code(source);
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let is_macro_or_type = word.starts_with(|c: char| c.is_uppercase()) || word.is_empty();
        if !is_macro_or_type {
            found.insert(word);
        }
    }
    found
}

#[test]
fn calls_go_down_and_a_module_imports_only_what_the_table_allows() {
    let mut table: BTreeMap<&str, &[&str]> = BTreeMap::new();
    for (module, allowed) in LAYERS {
        for below in *allowed {
            assert!(table.contains_key(below), "{module} may import {below}: list it below");
        }
        table.insert(module, allowed);
    }
    let mut places = Vec::new();
    let mut known = BTreeSet::new();
    for file in files("engine/src", "rs") {
        let module = file["engine/src/".len()..].split(['/', '.']).next().unwrap().to_owned();
        if module == "lib" {
            continue;
        }
        let Some(allowed) = table.get(module.as_str()) else {
            places.push(format!("{file}: put module `{module}` into LAYERS"));
            continue;
        };
        for import in imported_modules(&read(&file)) {
            if import == module || allowed.contains(&import.as_str()) {
                continue;
            }
            match KNOWN_UPWARD.iter().find(|(from, to, _)| *from == module && *to == import) {
                Some(exception) => {
                    known.insert(exception);
                }
                None => places.push(format!("{file} imports crate::{import}")),
            }
        }
    }
    for exception in KNOWN_UPWARD.iter().filter(|exception| !known.contains(exception)) {
        places.push(format!("{exception:?} is gone: take it off KNOWN_UPWARD"));
    }
    report("a file imports only lower layers", &places);
}
