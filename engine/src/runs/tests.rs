//! Tests of the active runs: their counters, and the memory that they take.

use super::*;
use crate::types::{Namespace, Retention};

fn begin(tracker: &RunTracker, n: u8, version: u64) -> RunId {
    let run = RunId::from_bytes([n; 16]);
    let begin = RunBegin {
        namespace: Namespace::default_for(run),
        parent: None,
        forked_from: None,
        retention: Retention::Latest,
        tags: BTreeMap::new(),
    };
    let begin = RunChange::Begin { run, begin: Box::new(begin), version, time_ms: 5 };
    tracker.apply(begin, &mut HotRun::default());
    run
}

#[test]
fn t20_last_version_is_that_of_the_runs_own_last_change() {
    let tracker = RunTracker::new();
    let (a, b) = (begin(&tracker, 1, 1), begin(&tracker, 2, 2));
    let mut hot = HotRun::default();
    for (run, version) in [(a, 3), (b, 4), (a, 5)] {
        tracker.touch(run, (version, 9), Touch::Delete, &mut hot);
        assert_eq!(hot.id(), Some(run));
    }
    assert_eq!(tracker.get_active(&a).map(|e| e.last_version), Some(5));
    assert_eq!(tracker.get_active(&b).map(|e| e.last_version), Some(4));
    let tally = Tally { changes: 3, deletes: 2, last_ms: 9, ..Tally::default() };
    assert_eq!(tracker.active(&a).map(|saved| saved.tally), Some(tally));
}

/// Begins and ends a run, and drops it; of what is remembered few stay.
#[test]
fn memory_is_given_back_when_runs_end_and_are_forgotten() {
    let tracker = RunTracker::new();
    let mut hot = HotRun::default();
    let mut most = 0;
    for n in 0..200u8 {
        let version = 10 * u64::from(n) + 1;
        let run = begin(&tracker, n, version);
        let one = tracker.memory_bytes();
        let (status, time_ms) = (RunStatus::Failed, 9);
        let end = RunChange::End { run, status, version: version + 1, time_ms };
        assert_eq!(tracker.apply(end, &mut hot).len(), 4);
        assert!(tracker.memory_bytes() < one);
        if n % 2 == 0 {
            let before = tracker.memory_bytes();
            let dropped = RunChange::Drop { run, version: version + 2, time_ms };
            assert_eq!(tracker.apply(dropped, &mut hot).len(), 4);
            assert_eq!(tracker.memory_bytes(), before);
        }
        tracker.forget_some(64);
        most = most.max(tracker.memory_bytes());
    }
    assert_eq!(tracker.memory_bytes(), most, "what is remembered is full");
    assert!(most <= 64 * 1024);
    assert_eq!((tracker.count(), tracker.active_count()), (200, 0));
    assert_eq!(tracker.count_of(RunStatus::Dropped), 100);
}
