#!/usr/bin/env bash
# jammdb 0.11.0: in a transaction that has deleted all keys of a page, scans end at that page.
#
# A write transaction sees its own changes: `get` does. A scan of the bucket (`kv_pairs`, `range`, a
# cursor) stops at the first leaf page that the transaction's own deletes have emptied, and shows
# nothing of what is behind it. If that is the first page, it shows nothing at all. No error says so.
# After the commit, which drops the empty page, the same scan is right.
#
# So a program that deletes the oldest entries and then, in the same transaction, looks for what is left,
# is told that nothing is, and acts on it, in the very transaction that it then commits. Scan first and
# delete then; or commit between.
#
# Seen, with 40 keys of 400 bytes in pages of 4096:
#   keys 0 to 4 deleted:   get finds 35, a scan finds 0; after the commit, 35
#   keys 10 to 19 deleted: get finds 30, a scan finds 10; after the commit, 30
set -euo pipefail

dir="$(mktemp -d)"
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "emptied-page"
version = "0.0.0"
edition = "2021"

[dependencies]
jammdb = "=0.11.0"

[workspace]
TOML
cat > "$dir/src/main.rs" <<'RUST'
use std::ops::Range;
use std::path::Path;

fn key(n: u32) -> String {
    format!("{n:02}")
}

fn look(path: &Path, gone: Range<u32>) {
    let db = jammdb::OpenOptions::new().pagesize(4096).open(path).expect("opens");
    let tx = db.tx(true).expect("begins");
    let bucket = tx.create_bucket("entries").expect("is new");
    for n in 0..40 {
        bucket.put(key(n), vec![0u8; 400]).expect("puts");
    }
    tx.commit().expect("commits");

    let tx = db.tx(true).expect("begins");
    let bucket = tx.get_bucket("entries").expect("is there");
    for n in gone.clone() {
        bucket.delete(key(n)).expect("deletes");
    }
    let found = (0..40).filter(|n| bucket.get(key(*n)).is_some()).count();
    let scanned = bucket.kv_pairs().count();
    tx.commit().expect("commits");

    let tx = db.tx(false).expect("begins");
    let after = tx.get_bucket("entries").expect("is there").kv_pairs().count();
    println!("{gone:?}: get finds {found}, a scan {scanned}; after the commit, a scan {after}");
}

fn main() {
    let dir = std::env::args().nth(1).expect("an empty directory");
    look(&Path::new(&dir).join("front"), 0..5);
    look(&Path::new(&dir).join("middle"), 10..20);
}
RUST

mkdir "$dir/db"
found="$(CARGO_TARGET_DIR="$dir/target" cargo run --quiet --manifest-path "$dir/Cargo.toml" -- "$dir/db")"
expected="0..5: get finds 35, a scan 0; after the commit, a scan 35
10..20: get finds 30, a scan 10; after the commit, a scan 30"
echo "$found"
if [ "$found" != "$expected" ]; then
  echo "jammdb behaves otherwise now" >&2
  exit 1
fi
