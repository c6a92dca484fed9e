//! The search: every legal state of a crash point, a recovery on each, and every crash point
//! of that recovery, to a depth.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::check::{check_shown, check_usable};
use super::lazy::{Copy, LazyVfs, Watch, lock};
use super::session::{DIR, Point, Promise, WALL_BACK_MS, builder, crash_points};
use super::workload::Workload;
use super::{Bounds, Breach, Checked, Report};
use crate::digest::Digest;
use crate::disk::{CrashKind, SimVfs};
use crate::harness::case::CaseOptions;
use crate::harness::world::SimClock;

/// Explores the crash points of one workload.
///
/// The report ends with the first breach; everything else in it is counted up to there.
pub fn explore(workload: &Workload, bounds: &Bounds) -> Report {
    let mut search = Search {
        options: workload.setting.options(),
        bounds,
        report: Report { workloads: 1, ..Report::default() },
        known: BTreeSet::new(),
    };
    let depth = bounds.depth_of(workload);
    let result = crash_points(workload).and_then(|points| {
        for point in points {
            search.point(&point, None, (1, depth)).map_err(|breach| breach.under(&point.at))?;
        }
        Ok(())
    });
    search.report.breach =
        result.err().map(|breach| Breach { workload: workload.to_string(), ..breach });
    search.report
}

/// The versions that a single recovery could have reached.
type Versions = BTreeSet<u64>;

struct Search<'a> {
    options: CaseOptions,
    bounds: &'a Bounds,
    report: Report,
    /// What was explored: a digest of disk, promise and depth.
    known: BTreeSet<u64>,
}

/// A crash in a recovery, and how many digits of it were decided there.
struct Nested {
    copy: Copy,
    prefix: Vec<usize>,
}

/// The disks that a crash leaves.
struct Crash<'a> {
    kind: CrashKind,
    point: &'a Point,
    disks: &'a [SimVfs],
    /// What the recovery may show.
    allowed: Option<&'a Versions>,
    /// What a second one may show, beside what this recovery shows.
    beside: Option<&'a Versions>,
}

impl Search<'_> {
    /// Explores a crash point at a level of a depth: a power cut in every way, and a kill.
    fn point(
        &mut self,
        point: &Point,
        allowed: Option<&Versions>,
        (level, depth): (usize, usize),
    ) -> Checked {
        let tally = self.report.level(level);
        tally.points += 1;
        if !self.is_new(point, allowed, depth - level) {
            self.report.level(level).known += 1;
            return Ok(());
        }
        let cuts = point.disk.power_cuts();
        let tally = self.report.level(level);
        tally.choices = tally.choices.saturating_add(cuts.choices);
        tally.states = tally.states.saturating_add(cuts.states);
        let kind = CrashKind::Power;
        let crash = Crash { kind, point, disks: &cuts.names, allowed, beside: None };
        let reached =
            self.crash(&crash, (level, depth)).map_err(|breach| breach.under("power cut"))?;
        // A kill leaves all that is visible. A power cut in the recovery may still take it.
        let killed = point.disk.fork(0);
        killed.crash_now(CrashKind::Process);
        killed.restart();
        let tally = self.report.level(level);
        tally.choices = tally.choices.saturating_add(killed.possible_states());
        tally.states = tally.states.saturating_add(killed.possible_states());
        let crash = Crash {
            kind: CrashKind::Process,
            point,
            disks: &[killed],
            allowed,
            beside: Some(&reached),
        };
        self.crash(&crash, (level, depth)).map_err(|breach| breach.under("process kill"))?;
        Ok(())
    }

    /// Whether this was not explored before, to this depth, with this promise.
    fn is_new(&mut self, point: &Point, allowed: Option<&Versions>, deeper: usize) -> bool {
        let Promise { longest, durable, written, time_floor, time_max, epoch_max, .. } =
            *point.promise;
        let mut digest = Digest::new();
        digest.u64(point.disk.fingerprint());
        for number in [longest as u64, durable, written, time_floor, time_max, epoch_max] {
            digest.u64(number);
        }
        digest.u64(deeper as u64);
        for version in allowed.into_iter().flatten() {
            digest.u64(*version);
        }
        digest.u64(allowed.map_or(u64::MAX, |allowed| allowed.len() as u64));
        self.known.insert(digest.value()) || self.bounds.brute_force
    }

    /// A recovery on every state that a crash leaves; then the crashes inside them. Returns
    /// the versions that were shown.
    fn crash(&mut self, crash: &Crash<'_>, (level, depth): (usize, usize)) -> Checked<Versions> {
        let deeper = level < depth;
        let watch = Arc::new(Mutex::new(Watch { keeps: deeper, ..Watch::default() }));
        let mut leaves: Vec<(Vec<usize>, u64)> = vec![];
        let mut held: Vec<Nested> = vec![];
        let mut reached = Versions::new();
        let mut count = 0;
        loop {
            if count == self.bounds.states_max {
                self.report.level(level).cut_off += 1;
                break;
            }
            count += 1;
            let version = self
                .recover(crash, &watch, level)
                .map_err(|breach| breach.under(&self.explain(crash, &watch, level)))?;
            reached.insert(version);
            let mut watched = lock(&watch);
            let digits = watched.odometer.prefix();
            let copies = std::mem::take(&mut watched.copies);
            drop(watched);
            for copy in copies {
                if copy.digits == digits.len() {
                    let only = Versions::from([version]);
                    let nested = Nested { copy, prefix: digits.clone() };
                    self.nested(crash, nested, only, (level, depth))
                        .map_err(|breach| breach.under(&self.explain(crash, &watch, level)))?;
                } else {
                    let prefix = digits.get(..copy.digits).unwrap_or_default().to_vec();
                    held.push(Nested { copy, prefix });
                }
            }
            if deeper {
                leaves.push((digits, version));
            }
            let mut watched = lock(&watch);
            if !watched.odometer.advance() {
                break;
            }
            watched.restart();
        }
        // Where more was decided after the crash, any of what that led to may be reached.
        for nested in held {
            let extending = leaves.iter().filter(|(digits, _)| digits.starts_with(&nested.prefix));
            let versions = extending.map(|(_, version)| *version).collect();
            self.nested(crash, nested, versions, (level, depth))?;
        }
        Ok(reached)
    }

    /// A crash inside a recovery.
    fn nested(
        &mut self,
        crash: &Crash<'_>,
        nested: Nested,
        mut versions: Versions,
        (level, depth): (usize, usize),
    ) -> Checked {
        let mut promise = (*crash.point.promise).clone();
        if crash.kind == CrashKind::Power {
            promise.written = promise.durable;
        }
        let at = format!("in the recovery, before {}", nested.copy.before);
        match nested.copy.shown {
            // C8: what was shown is durable.
            Some(version) => {
                promise.durable = version;
                promise.written = version;
                promise.longest = usize::try_from(version).unwrap_or(usize::MAX);
            }
            None => versions.extend(crash.beside.into_iter().flatten()),
        }
        let point = Point { disk: nested.copy.disk, promise: Arc::new(promise), at };
        self.point(&point, Some(&versions), (level + 1, depth))
            .map_err(|breach| breach.under(&point.at))
    }

    /// A copy of the disk that the first digits choose.
    fn disk(&self, crash: &Crash<'_>, watch: &Mutex<Watch>) -> Checked<SimVfs> {
        let odometer = &mut lock(watch).odometer;
        if self.bounds.brute_force && crash.kind == CrashKind::Power {
            return Ok(crash.point.disk.power_cut_by(odometer));
        }
        let chosen = crash.disks.get(odometer.choose(crash.disks.len()));
        let disk = chosen.ok_or_else(|| Breach::new("harness", "no such disk"))?.fork(0);
        if self.bounds.brute_force {
            disk.decide_everything(odometer);
        }
        Ok(disk)
    }

    /// One recovery, with the digits of the watch; returns the version that it shows.
    fn recover(
        &mut self,
        crash: &Crash<'_>,
        watch: &Arc<Mutex<Watch>>,
        level: usize,
    ) -> Checked<u64> {
        let vfs = LazyVfs::new(self.disk(crash, watch)?, watch);
        let clock = Arc::new(SimClock::new(WALL_BACK_MS));
        let opened = builder(&vfs, &self.options, clock, 1000 + level as u64).open(DIR);
        let promise = &crash.point.promise;
        let result = opened
            .map_err(|e| Breach::new("C5", format!("an opening was refused: {e}")))
            .and_then(|db| {
                let version = check_shown(&db, promise, crash.kind, crash.allowed)?;
                vfs.keep("(the return)", Some(version));
                let mut watched = lock(watch);
                let keeps = std::mem::take(&mut watched.keeps);
                if !watched.changed {
                    watched.state = vfs.state();
                }
                self.report.seen.push(watched.seen.value());
                self.report.states.push(watched.state);
                let calls = watched.calls;
                drop(watched);
                let tally = self.report.level(level);
                tally.recoveries += 1;
                tally.calls += calls;
                let usable = check_usable(&db, &vfs, promise);
                lock(watch).keeps = keeps;
                vfs.kill();
                usable.map(|()| version)
            });
        vfs.kill();
        result
    }

    /// The decisions of a recovery, made again.
    fn explain(&self, crash: &Crash<'_>, watch: &Arc<Mutex<Watch>>, level: usize) -> String {
        let mut watched = lock(watch);
        watched.odometer.rewind();
        watched.restart();
        (watched.keeps, watched.explains) = (false, true);
        drop(watched);
        let Ok(disk) = self.disk(crash, watch) else { return String::new() };
        let vfs = LazyVfs::new(disk.clone(), watch);
        let clock = Arc::new(SimClock::new(WALL_BACK_MS));
        let opened = builder(&vfs, &self.options, clock, 1000 + level as u64).open(DIR);
        vfs.kill();
        drop(opened);
        let image = disk.live_image();
        let files: Vec<String> = image.keys().map(|path| path.display().to_string()).collect();
        let decisions = std::mem::take(&mut lock(watch).decisions);
        format!("files {}; {}", files.join(" "), decisions.join("; "))
    }
}
