//! The pages of the documentation name what is there.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{pages, read, report, root};

/// The anchors of a page: one for each heading, as repository viewers make them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut found = BTreeSet::new();
    for line in page.lines() {
        fenced ^= line.starts_with("```");
        if fenced || !line.starts_with('#') {
            continue;
        }
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        found.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
    }
    found
}

#[test]
fn every_relative_link_of_the_docs_leads_somewhere() {
    let mut places = Vec::new();
    for name in pages() {
        let text = read(&name);
        let dir = root().join(&name).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target: PathBuf = if path.is_empty() { root().join(&name) } else { dir.join(path) };
            if !target.exists() {
                places.push(format!("{name}: {link}"));
            } else if !anchor.is_empty() && path.ends_with("md") | path.is_empty() {
                let page = std::fs::read_to_string(&target).unwrap();
                if !anchors(&page).contains(anchor) {
                    places.push(format!("{name}: {link} (no such heading)"));
                }
            }
        }
    }
    report("a link leads somewhere", &places);
}

#[test]
fn every_file_that_the_docs_name_is_there() {
    let mut places = Vec::new();
    for name in pages().into_iter().filter(|name| name != "CHANGELOG.md") {
        for word in read(&name).split('`').skip(1).step_by(2) {
            let looks_like_a_file = ["engine/", "sim/", "vfs/", "tests/", "docs/", "snapshots/"]
                .iter()
                .any(|dir| word.starts_with(dir))
                && !word.contains(['<', '*', ' ', '…', '\n']);
            if looks_like_a_file && !root().join(word).exists() {
                places.push(format!("{name}: {word}"));
            }
        }
    }
    report("a file that the docs name is there", &places);
}

#[test]
fn every_test_that_the_contract_names_is_there() {
    let mut places = Vec::new();
    let text = read("docs/durability.md");
    let mut seen = 0;
    for word in text.split('`').skip(1).step_by(2) {
        let Some((file, test)) = word.split_once("::") else { continue };
        let homes = [format!("tests/{file}.rs"), format!("tests/snapshots/{file}.rs")];
        let Some(home) = homes.iter().find(|home| root().join(home).exists()) else { continue };
        seen += 1;
        if test.contains('_') && !read(home).contains(&format!("fn {test}()")) {
            places.push(format!("{home}: {test}"));
        }
    }
    assert!(seen > 5, "the tests that the contract names are found");
    report("a test that docs/durability.md names is there", &places);
}
