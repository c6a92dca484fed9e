//! The pages of `report`, in a real browser: they build, show what they should, and need no
//! network. Without Chromium the browser's part is skipped, and says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may panic, also in its helpers"
)]

use std::path::Path;
use std::process::Command;

/// The names under which Chromium is installed.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// Writes a page; returns it.
fn report(dir: &Path, args: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runstone-sim"));
    let output = command
        .current_dir(dir)
        .arg("report")
        .args(args.split_whitespace())
        .args(["--out", "page.html"])
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.starts_with("page.html: "), "{out}{err}");
    std::fs::read_to_string(dir.join("page.html")).unwrap()
}

/// The page as the browser has built it; `None` if there is no browser.
fn rendered(dir: &Path, at: &str) -> Option<String> {
    let found = |name: &&&str| Command::new(name).arg("--version").output().is_ok();
    let Some(browser) = BROWSERS.iter().find(found) else {
        println!("skipped: Chromium is not installed (apt-get install chromium)");
        return None;
    };
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg("--dump-dom")
        .arg(format!("file://{}{at}", dir.join("page.html").display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!dom.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(dom)
}

/// A number that the page's script has left on the body when all was built.
fn mark(dom: &str, name: &str) -> u64 {
    let (_, rest) = dom.split_once(&format!("data-{name}=\"")).unwrap_or_else(|| panic!("{name}"));
    rest.split_once('"').unwrap().0.parse().unwrap()
}

fn assert_built(dom: &str) {
    assert!(!dom.contains("data-error="), "{}", dom.get(..2000).unwrap_or(dom));
    assert!(dom.contains("data-ready=\"true\""), "the script did not come to its end");
}

/// No address but the name of the vector format, nothing that is fetched.
fn assert_self_contained(page: &str) {
    let without_name = page.replace("http://www.w3.org/2000/svg", "");
    for outside in ["http://", "https://", " src=", " href=", "@import", "url(", "fetch("] {
        assert!(!without_name.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(page.len() < 4 << 20, "{} bytes", page.len());
}

#[test]
fn the_page_of_a_seed_shows_every_event_and_decodes_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let page = report(dir.path(), "10");
    assert_self_contained(&page);
    let Some(dom) = rendered(dir.path(), "") else { return };
    assert_built(&dom);
    assert!(mark(&dom, "events") > 400);
    assert!(mark(&dom, "steps") > 100);
    for shown in ["Seed 10", "no breach", "What was lost at crash", "Durable: what survives"] {
        assert!(dom.contains(shown), "{shown}");
    }
    // Files are read as the engine wrote them: no part is broken behind a write.
    for (name, part) in [("runstone.lock", "lock file"), (".tmp", "manifest"), (".log", "commit")] {
        let at = write_of(&page, name, if part == "commit" { 1 } else { 0 });
        let early = rendered(dir.path(), &format!("#at={at}")).unwrap();
        assert_built(&early);
        assert!(mark(&early, "sections") > 0, "the parts of {name} at {at}");
        assert!(early.contains("class=\"section intact\""), "{name} at {at}");
        assert!(early.contains(&format!("<b>{part}")), "{name} at {at}");
        assert!(!early.contains("class=\"section broken\""), "{name} at {at}");
    }
}

/// The data that the page carries.
fn data(page: &str) -> serde_json::Value {
    let (_, rest) = page.split_once("id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

/// The number of the `nth` event, from 0, that writes to a file with this end of its name.
fn write_of(page: &str, name: &str, nth: usize) -> usize {
    let data = data(page);
    let writes = |event: &serde_json::Value| {
        let text = event[2].as_str().unwrap();
        text.starts_with("write ") && text.contains(&format!("{name} pos="))
    };
    let events = data["events"].as_array().unwrap();
    (0..events.len()).filter(|&at| writes(&events[at])).nth(nth).unwrap()
}

/// The ledger in the data of a page: how many cells it has, and how many were never activated.
fn cells(page: &str) -> (u64, u64) {
    let data = data(page);
    let summary = &data["ledger"]["summary"];
    let [all, activated] = ["cells", "activated"].map(|name| summary[name].as_u64().unwrap());
    (all, all - activated)
}

#[test]
fn the_page_of_a_sweep_shows_crashes_faults_worlds_and_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let page = report(dir.path(), "--sweep --seeds 0..60");
    assert_self_contained(&page);
    let Some(dom) = rendered(dir.path(), "") else { return };
    assert_built(&dom);
    assert!(mark(&dom, "bars") > 30);
    for shown in [
        "Sweep of 60 seeds from 0",
        "no breach of the contract",
        "power Sectors",
        "strict",
        "Commit, write of segment, position 1, PowerInside: activated ",
        "takes two threads; a simulation has one",
    ] {
        assert!(dom.contains(shown), "{shown}");
    }
    // Every cell is a square, the empty ones too.
    let (all, empty) = cells(&page);
    assert!(0 < empty && empty < all, "{empty} of {all}");
    assert_eq!((mark(&dom, "cells"), mark(&dom, "empty")), (all, empty));
    // The ledger is that of the seeds, whatever thread ran which.
    let ledger = |page: &str| page.split_once("\"ledger\":").unwrap().1[..20_000].to_owned();
    assert_eq!(ledger(&page), ledger(&report(dir.path(), "--sweep --seeds 0..60")));
}

#[cfg(feature = "planted")]
#[test]
fn the_pages_of_a_failure_show_the_clause_and_the_command() {
    let dir = tempfile::tempdir().unwrap();
    report(dir.path(), "--sweep --seeds 0..200 --plant NoDataSync");
    if let Some(dom) = rendered(dir.path(), "") {
        assert_built(&dom);
        for shown in [" failing seeds", "planted bug: NoDataSync", "-- shrink "] {
            assert!(dom.contains(shown), "{shown}");
        }
    }
    let page = report(dir.path(), "0 --plant NoDataSync");
    assert_self_contained(&page);
    if let Some(dom) = rendered(dir.path(), "") {
        assert_built(&dom);
        assert!(dom.contains("breach of C") && dom.contains("class=\"clause\""));
        assert!(dom.contains("shrink 0 --plant NoDataSync"));
    }
}
