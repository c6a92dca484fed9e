//! What the threads of a schedule do: drawn from the tape, by the weights of a scenario.

use runstone::Level;
use runstone_sim::rng::Rng;

use super::history::KEYS;

/// One step of a thread.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Put {
        key: usize,
        level: Level,
    },
    /// Asks for what was there; a delete is as durable as the database's mode says.
    Delete {
        key: usize,
    },
    /// Sets two keys at once.
    Batch {
        keys: [usize; 2],
        level: Level,
    },
    /// A key that nobody reads, gone after so many milliseconds.
    Expiring {
        ms: u64,
    },
    Submit {
        key: usize,
        level: Level,
    },
    /// Waits for the thread's oldest ticket.
    Wait,
    /// Asks the thread's oldest ticket.
    Poll,
    /// Asks it until it has its outcome: somebody else must commit it.
    Await,
    Step,
    Get {
        key: usize,
    },
    /// Reads all keys twice at one moment.
    Snapshot,
    /// A walk over all keys.
    Scan,
    Flush,
    /// Lets time pass, and ticks.
    Tick {
        ms: u64,
    },
    Maintain,
    Close,
}

/// How often each act is drawn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weights {
    pub(crate) put: u32,
    pub(crate) delete: u32,
    pub(crate) batch: u32,
    pub(crate) expiring: u32,
    pub(crate) submit: u32,
    pub(crate) wait: u32,
    pub(crate) polled: u32,
    pub(crate) step: u32,
    pub(crate) get: u32,
    pub(crate) snapshot: u32,
    pub(crate) scan: u32,
    pub(crate) flush: u32,
    pub(crate) maintain: u32,
}

/// What befalls the disk or a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    None,
    /// A crash at some call, or at the end.
    Crash,
    /// A sync or write that fails.
    Failure,
    /// A disk that is full for one call.
    Full,
    /// A thread panics inside a call.
    Panic,
}

/// A family of programs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) weights: Weights,
    /// One thread does nothing but tick, maintain and flush, while time passes.
    pub(crate) ticker: bool,
    /// The engine's own background thread runs.
    pub(crate) background: bool,
    /// One thread closes the store.
    pub(crate) closer: bool,
    pub(crate) mishaps: &'static [Mishap],
}

const COMMITS: Weights = Weights {
    put: 8,
    delete: 2,
    batch: 3,
    expiring: 0,
    submit: 0,
    wait: 0,
    polled: 0,
    step: 0,
    get: 2,
    snapshot: 2,
    scan: 0,
    flush: 1,
    maintain: 0,
};

/// All scenarios.
pub(crate) const SCENARIOS: [Scenario; 8] = [
    Scenario {
        name: "commits",
        weights: COMMITS,
        ticker: false,
        background: false,
        closer: false,
        mishaps: &[Mishap::None, Mishap::Crash, Mishap::Crash, Mishap::Crash],
    },
    Scenario {
        name: "tickets",
        weights: Weights { put: 4, submit: 8, wait: 4, step: 2, ..COMMITS },
        ticker: false,
        background: false,
        closer: false,
        mishaps: &[Mishap::None, Mishap::Crash],
    },
    Scenario {
        name: "snapshots",
        weights: Weights { snapshot: 8, scan: 4, maintain: 3, batch: 6, ..COMMITS },
        ticker: false,
        background: false,
        closer: false,
        mishaps: &[Mishap::None],
    },
    Scenario {
        name: "close",
        weights: Weights { submit: 3, wait: 2, ..COMMITS },
        ticker: false,
        background: false,
        closer: true,
        mishaps: &[Mishap::None, Mishap::None, Mishap::Crash],
    },
    Scenario {
        name: "upkeep",
        weights: Weights { expiring: 4, maintain: 1, submit: 2, ..COMMITS },
        ticker: true,
        background: false,
        closer: false,
        mishaps: &[Mishap::None, Mishap::Crash, Mishap::Crash],
    },
    Scenario {
        name: "background",
        weights: Weights { expiring: 2, submit: 4, polled: 3, ..COMMITS },
        ticker: false,
        background: true,
        closer: true,
        mishaps: &[Mishap::None, Mishap::Crash],
    },
    Scenario {
        name: "failures",
        weights: Weights { submit: 3, wait: 2, expiring: 1, ..COMMITS },
        ticker: true,
        background: false,
        closer: true,
        mishaps: &[Mishap::Failure, Mishap::Full],
    },
    Scenario {
        name: "panics",
        weights: Weights { submit: 4, wait: 3, ..COMMITS },
        ticker: true,
        background: false,
        closer: false,
        mishaps: &[Mishap::Panic],
    },
];

fn level(rng: &mut Rng) -> Level {
    *rng.pick(&[Level::Strict, Level::Strict, Level::Batched, Level::Async])
        .unwrap_or(&Level::Strict)
}

impl Scenario {
    /// The programs of the threads.
    pub(crate) fn programs(&self, rng: &mut Rng) -> Vec<Vec<Act>> {
        let mut programs = vec![];
        for _ in 0..rng.range(2..=3) {
            programs.push((0..rng.range(1..=4)).map(|_| self.act(rng)).collect());
        }
        if self.ticker {
            programs.push((0..rng.range(1..=3)).map(|_| Scenario::upkeep(rng)).collect());
        }
        // Where a ticket is awaited, a close would commit it; so it must not always come.
        if self.closer && rng.chance(if self.background { 1 } else { 3 }, 3) {
            programs.push(vec![Act::Close]);
        }
        programs
    }

    fn upkeep(rng: &mut Rng) -> Act {
        match rng.below(6) {
            0 => Act::Maintain,
            1 => Act::Flush,
            _ => Act::Tick { ms: *rng.pick(&[0, 5, 11, 25, 60]).unwrap_or(&0) },
        }
    }

    fn act(&self, rng: &mut Rng) -> Act {
        let w = &self.weights;
        let key = rng.index(KEYS.len());
        let weights = [
            w.put,
            w.delete,
            w.batch,
            w.expiring,
            w.submit,
            w.wait,
            w.wait / 2,
            w.step,
            w.get,
            w.snapshot,
            w.scan,
            w.flush,
            w.maintain,
            w.polled,
        ];
        match rng.weighted(&weights).unwrap_or(0) {
            0 => Act::Put { key, level: level(rng) },
            1 => Act::Delete { key },
            2 => {
                let other = (key + 1 + rng.index(KEYS.len() - 1)) % KEYS.len();
                Act::Batch { keys: [key, other], level: level(rng) }
            }
            3 => Act::Expiring { ms: rng.range(1..=30) },
            4 => Act::Submit { key, level: level(rng) },
            5 => Act::Wait,
            6 => Act::Poll,
            7 => Act::Step,
            8 => Act::Get { key },
            9 => Act::Snapshot,
            10 => Act::Scan,
            11 => Act::Flush,
            12 => Act::Maintain,
            _ => Act::Await,
        }
    }
}
