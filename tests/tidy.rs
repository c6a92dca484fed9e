//! The tree's own rules: what no compiler checks, and what rots if nobody does.
//!
//! Each test is one rule of the house, reports every place at once, and says what to do. A list
//! of exceptions gives a reason for each, and an exception that is no longer needed fails too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may panic, also in its helpers"
)]

#[path = "tidy/pages.rs"]
mod docs;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/layers.rs"]
mod layers;

use std::collections::BTreeSet;
use std::path::Path;

use imports::{Sources, circles};

/// The most lines of a source file.
const LINES_MAX: usize = 500;
/// Files that may be longer, and why.
const LONGER: &[(&str, &str)] = &[];
/// The longest line of a source file, in characters.
const LINE_CHARS_MAX: usize = 100;

/// Names that may stand in few places only: the name, where, and what to use instead.
const FENCED: &[(&str, &[&str], &str)] = &[
    (
        "std::fs",
        &["vfs/src/os.rs", "vfs/src/os/at.rs", "vfs/src/os/by_path.rs"],
        "go through the Vfs",
    ),
    ("SystemTime::now", &["engine/src/shell.rs"], "take the time from the Clock"),
    ("Instant::now", &["engine/src/shell.rs"], "take the time from the Clock"),
    ("thread::spawn", &[], "background work is a step (tick, maintain)"),
    (
        "thread::Builder",
        &["engine/src/sync/system.rs", "engine/src/sync/explored.rs"],
        "background work is a step (tick, maintain)",
    ),
    ("bincode", &["engine/src/codec/body.rs"], "write a format by hand; see decisions/0002"),
    ("HashMap", &[], "its order is not deterministic; use BTreeMap"),
];
/// The command line of the simulator is no library: it writes artefacts, shows a rate, and uses
/// all cores. It is outside the fences.
const COMMAND_LINE: &[&str] = &["sim/src/main.rs", "sim/src/bin", "sim/src/cli"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a directory of the tree, by their names relative to the root.
fn files(under: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(under)];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(name(&path));
        }
    }
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

fn sources() -> Vec<String> {
    ["engine", "sim", "vfs", "tests", "benches"]
        .into_iter()
        .filter(|dir| root().join(dir).is_dir())
        .flat_map(|dir| files(dir, "rs"))
        .filter(|name| !name.contains("/target/"))
        .collect()
}

/// The files of the library crates.
fn libraries() -> Vec<String> {
    ["engine/src", "sim/src", "vfs/src"].into_iter().flat_map(|dir| files(dir, "rs")).collect()
}

fn pages() -> Vec<String> {
    let mut pages = files("docs", "md");
    pages.extend(["README.md", "CHANGELOG.md"].map(str::to_owned));
    pages
}

/// The code of a source: without comments, and without its unit tests.
fn code(source: &str) -> String {
    let code = source.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n").collect()
}

fn report(rule: &str, places: &[String]) {
    assert!(places.is_empty(), "{rule}:\n  {}", places.join("\n  "));
}

#[test]
fn every_source_file_opens_with_what_it_is() {
    let bare: Vec<_> =
        sources().into_iter().filter(|name| !read(name).starts_with("//!")).collect();
    report("a file opens with a `//!` head", &bare);
}

#[test]
fn no_source_file_is_too_long() {
    let mut places = Vec::new();
    for name in libraries() {
        let lines = read(&name).lines().count();
        match (lines > LINES_MAX, LONGER.iter().any(|(longer, _)| *longer == name)) {
            (true, false) => places.push(format!("{name}: {lines} lines; split it by concept")),
            (false, true) => places.push(format!("{name}: short enough; take it off LONGER")),
            _ => {}
        }
    }
    for (name, _) in LONGER.iter().filter(|(name, _)| !root().join(name).exists()) {
        places.push(format!("{name}: gone; take it off LONGER"));
    }
    report("a file has at most 500 lines", &places);
}

#[test]
fn no_line_is_too_long_but_for_strings_and_tables() {
    let mut places = Vec::new();
    for name in sources() {
        for (number, line) in (1..).zip(read(&name).lines()) {
            // What cannot be broken, a reader bears: a message, a row of a table, an address.
            let unbreakable = line.contains('"')
                || line.trim_start().starts_with("//! |")
                || line.contains("://")
                || line.contains("](");
            if line.chars().count() > LINE_CHARS_MAX && !unbreakable {
                places.push(format!("{name}:{number}"));
            }
        }
    }
    report("a line has at most 100 characters", &places);
}

#[test]
fn no_tab_and_no_space_at_the_end_of_a_line() {
    let mut names = sources();
    names.extend(pages());
    names.extend(["Cargo.toml", "clippy.toml", "deny.toml", ".ci/run"].map(str::to_owned));
    names.extend(["engine", "sim", "vfs"].map(|dir| format!("{dir}/Cargo.toml")));
    let mut places = Vec::new();
    for name in names {
        let text = read(&name);
        for (number, line) in (1..).zip(text.lines()) {
            if line.contains('\t') || line.trim_end() != line {
                places.push(format!("{name}:{number}"));
            }
        }
        if !text.ends_with('\n') || text.ends_with("\n\n") {
            places.push(format!("{name}: one line feed at the end"));
        }
    }
    report("no tab, no trailing space", &places);
}

#[test]
fn fenced_names_stand_only_where_they_may() {
    let mut places = Vec::new();
    for (fenced, homes, instead) in FENCED {
        let mut used = BTreeSet::new();
        for name in libraries() {
            if COMMAND_LINE.iter().any(|outside| name.starts_with(outside)) {
                continue;
            }
            if !code(&read(&name)).contains(fenced) {
                continue;
            }
            used.insert(name.clone());
            if !homes.contains(&name.as_str()) {
                places.push(format!("{name} names {fenced}: {instead}"));
            }
        }
        for home in homes.iter().filter(|home| !used.contains(**home)) {
            places.push(format!("{home} no longer names {fenced}: take it off FENCED"));
        }
    }
    report("some names have few homes", &places);
}

/// Files in which a planted bug takes a block, and why.
const PLANTED_BLOCKS: &[(&str, &str)] =
    &[("engine/src/database/builder.rs", "going on in an unclean segment is an arm of its own")];

/// Whether a line opens a block that only a planted bug enters, or hangs code on the feature.
/// `planted!(Bug => what)` says it in one line; more than that stands in a `planted.rs`.
fn opens_planted_block(line: &str, next: &str) -> bool {
    let (line, next) = (line.trim(), next.trim_start());
    let items = ["mod ", "pub mod ", "use ", "macro_rules!", "fn ", "pub(crate) end:"];
    let hangs =
        line == "#[cfg(feature = \"planted\")]" && !items.iter().any(|item| next.starts_with(item));
    let asks =
        ["if planted!(", "&& planted!(", "(planted!("].iter().any(|with| line.contains(with));
    let opens = asks && line.ends_with(['{', '(']) && !line.contains("||");
    let spreads = line.starts_with("planted!(") && !line.ends_with(");");
    (hangs || opens || spreads) && !line.contains('$')
}

#[test]
fn a_planted_bug_takes_one_line_at_its_site() {
    let mut places = Vec::new();
    let mut used = BTreeSet::new();
    for name in files("engine/src", "rs") {
        if name.ends_with("planted.rs") {
            continue;
        }
        let code = code(&read(&name));
        let lines: Vec<&str> = code.lines().collect();
        let nexts = lines.iter().skip(1).chain([&""]);
        for (number, (line, next)) in (1..).zip(lines.iter().zip(nexts)) {
            if !opens_planted_block(line, next) {
                continue;
            }
            match PLANTED_BLOCKS.iter().find(|(file, _)| *file == name) {
                Some((file, _)) => drop(used.insert(*file)),
                None => places.push(format!("{name}:{number}")),
            }
        }
    }
    for (file, _) in PLANTED_BLOCKS.iter().filter(|(file, _)| !used.contains(file)) {
        places.push(format!("{file}: each takes one line; take it off PLANTED_BLOCKS"));
    }
    report(
        "a planted bug takes one line at its site, and nothing else hangs on the feature",
        &places,
    );
}

/// What counts as an import stands in the head of `tests/tidy/imports.rs`.
#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut places = Vec::new();
    for dir in ["engine/src", "sim/src", "vfs/src"] {
        let mut sources = Sources::default();
        for file in files(dir, "rs") {
            sources.add(&file, &file[dir.len() + 1..], &code(&read(&file)));
        }
        let graph = sources.imports();
        assert!(graph.len() > 3, "the imports of {dir} are found");
        for circle in circles(&graph) {
            let within = |(from, to): (&String, &String)| {
                let both = circle.contains(from) && circle.contains(to);
                both.then(|| format!("{from} imports {to}"))
            };
            let all = graph.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
            places.extend(all.filter_map(within));
        }
    }
    report("move what two files share into one below both", &places);
}

#[test]
fn a_circle_of_files_is_found_also_through_a_name_that_is_handed_on() {
    let mut sources = Sources::default();
    sources.add("mod", "mod.rs", "mod a;\nmod b;\npub use b::B;\n");
    sources.add("a", "a.rs", "use super::{B, c};\nstruct A(B);\n");
    sources.add("b", "b.rs", "struct B;\nfn f() { crate::a::A(super::c::C); }\n");
    sources.add("c", "c.rs", "struct C;\n");
    let graph = sources.imports();
    let both: BTreeSet<String> = ["a", "b"].map(str::to_owned).into();
    assert_eq!(circles(&graph), [both]);
}

#[test]
fn the_engine_never_names_the_simulator_and_the_vfs_names_neither() {
    let mut places = Vec::new();
    for (dir, absent) in [("engine/src", "runstone_sim"), ("vfs/src", "runstone_sim")] {
        for name in files(dir, "rs") {
            if code(&read(&name)).contains(absent) {
                places.push(format!("{name} names {absent}"));
            }
        }
    }
    let manifests = [("engine/Cargo.toml", "runstone-sim"), ("vfs/Cargo.toml", "runstone =")];
    for (name, absent) in manifests {
        if read(name).contains(absent) {
            places.push(format!("{name} depends on {absent}"));
        }
    }
    report("dependencies go sim -> engine -> vfs", &places);
}

#[test]
fn every_snapshot_is_named_by_a_test_and_lies_where_it_should() {
    let mut literals = BTreeSet::new();
    for name in sources() {
        let source = read(&name);
        literals.extend(source.split('"').map(str::to_owned));
    }
    let mut places = Vec::new();
    for name in files("snapshots", "snap") {
        let short = name.trim_start_matches("snapshots/").trim_end_matches(".snap");
        if !literals.contains(short) {
            places.push(format!("{name}: no test names \"{short}\"; remove it"));
        }
    }
    for entry in std::fs::read_dir(root().join("snapshots")).unwrap() {
        let name = name(&entry.unwrap().path());
        if !name.ends_with(".snap") {
            places.push(format!("{name}: not a snapshot (a pending one is to be reviewed)"));
        }
    }
    for dir in ["engine", "sim", "vfs", "tests"] {
        places.extend(files(dir, "snap").into_iter().map(|name| format!("{name}: belongs above")));
    }
    report("a snapshot has a test", &places);
}
