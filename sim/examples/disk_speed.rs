//! How many calls a second the simulated disk serves, and how long a seed's worth takes.
//!
//! `cargo run --release -p runstone-sim --example disk_speed`
#![allow(clippy::disallowed_methods, reason = "a measurement needs the clock")]

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use runstone_sim::disk::{CrashKind, DiskConfig, FaultPlan, Odds, SimVfs};
use runstone_sim::rng::Streams;
use runstone_vfs::Vfs;

const SEEDS: u64 = 500;

/// About 1,000 calls: a log of 64 KiB with groups and syncs, rotation, a manifest, reads.
fn seed(disk: &SimVfs) -> io::Result<()> {
    disk.create_dir(Path::new("/db"))?;
    for segment in 0..4 {
        let path = PathBuf::from(format!("/db/{segment:06}.log"));
        let file = disk.create(&path)?;
        file.allocate(0, 64 << 10)?;
        for group in 0..80u64 {
            file.write_at(&[7; 200], group * 800)?;
            file.write_at(&[8; 600], group * 800 + 200)?;
            file.sync()?;
        }
        let tmp = disk.create(Path::new("/db/MANIFEST.tmp"))?;
        tmp.write_at(&[9; 300], 0)?;
        tmp.sync()?;
        disk.rename(Path::new("/db/MANIFEST.tmp"), Path::new("/db/MANIFEST"))?;
        disk.sync_dir(Path::new("/db"))?;
        let mut buf = vec![0; 64 << 10];
        file.read_at(&mut buf, 0)?;
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let faulty = FaultPlan::none().with(
        runstone_sim::disk::CallKind::Write,
        runstone_sim::disk::FaultKind::Short,
        Odds::one_in(1000),
    );
    for (name, plan) in [("no faults", FaultPlan::none()), ("with a fault plan", faulty)] {
        let (mut calls, mut lost) = (0, 0u64);
        let start = Instant::now();
        for root in 0..SEEDS {
            let streams = Streams::new(root);
            let disk = SimVfs::with_streams(&streams, DiskConfig::default(), plan.clone());
            seed(&disk)?;
            disk.crash_now(CrashKind::Power);
            calls += disk.calls();
            lost += u64::from(disk.crash_report().is_some_and(|report| report.lost_anything()));
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{name}: {:.0} calls a second, {:.2} ms a seed of {} calls, {lost} of {SEEDS} lost data",
            calls as f64 / seconds,
            seconds * 1e3 / SEEDS as f64,
            calls / SEEDS
        );
    }
    Ok(())
}
