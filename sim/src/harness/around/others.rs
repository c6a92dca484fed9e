//! Who else uses the store: a forked child, readers, and a second writer.
//!
//! Invariant: neither a child nor a reader changes a byte.

use runstone::{Database, Error, Level, WriteOptions};

use super::trip::{Trip, changing_calls, must, same, shown};
use super::{Excursion, RUN};
use crate::disk::{CallKind, FaultKind, FaultMode, FaultPlan, Odds};
use crate::harness::case::run_id;
use crate::harness::world::DIR;

impl Excursion {
    pub(super) fn forked(&self) -> Trip {
        let db = self.owner(DIR)?;
        if self.twist(7) {
            let strict = WriteOptions { durability: Some(Level::Strict) };
            must("put", db.put_with(run_id(RUN), "last", 1, None, strict))?;
        }
        let expected = shown(&db)?;
        let before = (self.disk.state_digest(), changing_calls(&self.disk));
        self.disk.set_process(1);
        let told = [
            ("put", db.put(run_id(RUN), "k", 1).map(drop)),
            ("get", db.get(run_id(RUN), "k").map(drop)),
            ("scan", db.scan_prefix(run_id(RUN), "").map(drop)),
            ("snapshot", db.snapshot().map(drop)),
            ("tick", db.tick().map(drop)),
            ("maintain", db.maintain().map(drop)),
            ("flush", db.flush()),
            ("close", if self.twist(6) { db.close() } else { Err(Error::Forked) }),
        ];
        drop(db);
        self.disk.set_process(0);
        for (call, outcome) in told {
            if !matches!(outcome, Err(Error::Forked)) {
                return Err(("fork", format!("in a child {call} answered {outcome:?}")));
            }
        }
        if (self.disk.state_digest(), changing_calls(&self.disk)) != before {
            return Err(("fork", "a child changed the disk".to_owned()));
        }
        self.shows(DIR, &expected)
    }

    pub(super) fn readers(&self) -> Trip {
        let db = self.owner(DIR)?;
        let expected = shown(&db)?;
        let read = || self.builder().open_read_only(DIR);
        let locked = |what: &str, outcome: Result<Database, Error>| match outcome {
            Err(Error::Locked { .. }) => Ok(()),
            other => Err(("C9", format!("{what} was not locked out: {other:?}"))),
        };
        locked("a reader beside a writer", read())?;
        self.end(db)?;
        let before = (self.disk.state_digest(), changing_calls(&self.disk));
        let (one, two) = (must("a reader", read())?, must("a second reader", read())?);
        same("what a reader shows", &shown(&one)?, &expected)?;
        locked("a writer beside two readers", self.builder().open(DIR))?;
        drop(one);
        same("what the other reader shows", &shown(&two)?, &expected)?;
        locked("a writer beside a reader", self.builder().open(DIR))?;
        must("a reader's close", two.close())?;

        let mut plan = FaultPlan::none().with(CallKind::Read, FaultKind::Short, Odds::one_in(4));
        for call in [CallKind::Read, CallKind::Open, CallKind::Len, CallKind::List, CallKind::Lock]
        {
            plan = plan.with(call, FaultKind::Io, Odds::one_in(25));
        }
        self.disk.set_faults(FaultMode::Drawn(plan));
        self.disk.enable_faults(true);
        for _ in 0..4 {
            match read() {
                Ok(db) => {
                    let reads = self.disk.injected().len();
                    match shown(&db) {
                        Ok(shown) => same("what a reader among faults shows", &shown, &expected)?,
                        // A table could not be read.
                        Err(_) if self.disk.injected().len() > reads => {}
                        Err(breach) => return Err(breach),
                    }
                }
                Err(Error::Io { .. }) => {}
                Err(error) => return Err(("C8", format!("a reader among faults: {error}"))),
            }
        }
        self.disk.heal();
        if (self.disk.state_digest(), changing_calls(&self.disk)) != before {
            return Err(("C8", "readers changed the disk".to_owned()));
        }
        self.shows(DIR, &expected)
    }
}
