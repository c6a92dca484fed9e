//! What a change of the manifest costs: an edit, and the whole of it, for a store of many tables.
//!
//! ```sh
//! cargo run --release -p runstone-vfs --example manifest_edit -- DIR
//! ```
//! Each round writes as much as the engine does for one change, beside the other: for an edit one
//! write of a sector into zeros and one sync; for the whole a file, its sync, a link, a rename, a
//! sync of the directory and a removal. 160 bytes a table.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "an example that fails says so"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use runstone_vfs::{OsVfs, Vfs, write_all_at};

const ROUNDS: usize = 41;

fn main() {
    let dir = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let dir = OsVfs::new().open_dir(Path::new(&dir)).unwrap();
    let name = |name: &'static str| Path::new(name);
    for tables in [10, 100, 1_000, 10_000] {
        let whole = vec![7; 160 * tables];
        let file = dir.create(name("edits.tmp")).unwrap();
        write_all_at(&*file, &vec![0; 512 * ROUNDS], 0).unwrap();
        file.sync().unwrap();
        drop(dir.create(name("manifest.tmp")).unwrap());
        let (mut edits, mut wholes) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let start = Instant::now();
            write_all_at(&*file, &[7; 512], 512 * round as u64).unwrap();
            file.sync().unwrap();
            edits.push(start.elapsed());
            let start = Instant::now();
            let next = dir.create(name("next.tmp")).unwrap();
            write_all_at(&*next, &whole, 0).unwrap();
            next.sync().unwrap();
            dir.link(name("manifest.tmp"), name("old.tmp")).unwrap();
            dir.rename(name("next.tmp"), name("manifest.tmp")).unwrap();
            dir.sync_dir(name(".")).unwrap();
            dir.remove(name("old.tmp")).unwrap();
            wholes.push(start.elapsed());
        }
        let (edit, whole) = (median(edits), median(wholes));
        let ratio = whole.as_secs_f64() / edit.as_secs_f64();
        println!("{tables:>6} tables: edit {edit:>10.1?}, whole {whole:>10.1?}, {ratio:.1} times");
        dir.remove(name("edits.tmp")).unwrap();
        dir.remove(name("manifest.tmp")).unwrap();
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
