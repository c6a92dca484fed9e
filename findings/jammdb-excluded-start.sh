#!/usr/bin/env bash
# jammdb 0.11.0: a range that begins behind an excluded key begins at the first key of all.
#
# `Bucket::range` takes any `RangeBounds<&[u8]>`, as `BTreeMap::range` does. An included start, both
# kinds of end and no bound do what they do there. A start of `Bound::Excluded` is taken for no start:
# the range begins at the bucket's first key, also where that is far below the bound. No error says so.
#
# Whoever pages through a bucket ("go on behind the last key that I have") gets the first page again,
# each time, and never comes to an end. In jammdb, begin at the last key and skip it.
#
# Found by comparing random histories with a BTreeMap. The source says why: the iterator looks at its start
# only if that is `Bound::Included`.
#
# Seen, with keys a, c and e:
#   included a: a c e
#   excluded a: a c e      (a BTreeMap gives c e)
#   excluded c: a c e      (a BTreeMap gives e)
#   excluded d: a c e      (a BTreeMap gives e)
set -euo pipefail

dir="$(mktemp -d)"
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "excluded-start"
version = "0.0.0"
edition = "2021"

[dependencies]
jammdb = "=0.11.0"

[workspace]
TOML
cat > "$dir/src/main.rs" <<'RUST'
use std::collections::BTreeSet;
use std::ops::Bound::{self, Excluded, Included, Unbounded};

fn main() {
    let path = std::env::args().nth(1).expect("the path of a new database");
    let db = jammdb::DB::open(path).expect("opens");
    let tx = db.tx(true).expect("begins");
    let bucket = tx.create_bucket("letters").expect("is new");
    let mut model: BTreeSet<&[u8]> = BTreeSet::new();
    for key in ["a", "c", "e"] {
        bucket.put(key, "value").expect("puts");
        model.insert(key.as_bytes());
    }
    let show = |name: &str, from: Bound<&[u8]>| {
        let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
        let found: Vec<_> = bucket.range((from, Unbounded)).map(|data| text(data.kv().key())).collect();
        let expected: Vec<_> =
            model.range::<[u8], _>((from, Unbounded)).map(|key| text(key)).collect();
        println!("{name}: {}; a BTreeSet: {}", found.join(" "), expected.join(" "));
    };
    show("included a", Included(b"a"));
    show("included c", Included(b"c"));
    show("excluded a", Excluded(b"a"));
    show("excluded c", Excluded(b"c"));
    show("excluded d", Excluded(b"d"));
}
RUST

found="$(CARGO_TARGET_DIR="$dir/target" cargo run --quiet --manifest-path "$dir/Cargo.toml" -- "$dir/db")"
expected="included a: a c e; a BTreeSet: a c e
included c: c e; a BTreeSet: c e
excluded a: a c e; a BTreeSet: c e
excluded c: a c e; a BTreeSet: e
excluded d: a c e; a BTreeSet: e"
echo "$found"
if [ "$found" != "$expected" ]; then
  echo "jammdb behaves otherwise now" >&2
  exit 1
fi
