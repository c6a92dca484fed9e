//! The tables of the docs name tests; each must exist.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

use std::path::Path;

/// Pairs of test name and file: every `name` in back quotes of a table row goes with the next
/// file of the row.
fn named(document: &str) -> Vec<(String, String)> {
    let mut pairs = vec![];
    for row in document.lines().filter(|line| line.starts_with('|')) {
        let mut waiting: Vec<&str> = vec![];
        for word in row.split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") {
                pairs.extend(waiting.drain(..).map(|name| (name.to_owned(), word.to_owned())));
            } else {
                waiting.push(word);
            }
        }
        assert!(waiting.is_empty(), "a name without a file: {row}");
    }
    pairs
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn check(document: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let pairs = named(&text);
    for (name, file) in &pairs {
        let source = std::fs::read_to_string(root().join(file)).expect(file);
        let is_test = source.split("#[test]").skip(1).any(|rest| {
            rest.split_once("fn ").is_some_and(|(_, f)| f.starts_with(&format!("{name}(")))
        });
        assert!(is_test, "{document}: no test {name} in {file}");
    }
    pairs
}

#[test]
fn every_story_has_its_test() {
    let pairs = check("docs/stories.md");
    assert_eq!(pairs.len(), 39, "seven, six, eight, ten stories and eight tests of integration");
}

#[test]
fn every_trap_has_its_test_or_the_reason_why_it_does_not_apply_yet() {
    check("docs/traps.md");
    let text = std::fs::read_to_string(root().join("docs/traps.md")).unwrap();
    for n in 1..=36 {
        let rows: Vec<_> =
            text.lines().filter(|line| line.starts_with(&format!("| T{n} "))).collect();
        let [row] = rows[..] else { panic!("T{n} must have one row") };
        assert!(row.contains(".rs`") || row.contains("Not yet: "), "{row}");
    }
}

/// The other way round: a test with a trap's number in its name is in the table.
#[test]
fn no_test_of_a_trap_is_missing_in_the_table() {
    let named: Vec<_> = check("docs/traps.md").into_iter().map(|(name, _)| name).collect();
    for file in std::fs::read_dir(root().join("tests")).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue;
        }
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let Some(rest) = line.strip_prefix("fn t") else { continue };
            let Some((name, _)) = rest.split_once('(') else { continue };
            if name.starts_with(|c: char| c.is_ascii_digit()) {
                let name = format!("t{name}");
                assert!(named.contains(&name), "{name} of {} is not in the table", path.display());
            }
        }
    }
}
