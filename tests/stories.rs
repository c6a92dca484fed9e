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
