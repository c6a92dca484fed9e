//! Races that are planted in the engine: each must be caught, or the explorer is blind to its
//! kind.
//!
//! The table of `docs/concurrency.md` is what this prints:
//! ```sh
//! cargo test --release -p runstone-sim --features explore,planted --test schedules races -- \
//!   --nocapture
//! ```

use runstone::planted::{Bug, plant};

use super::explorer::{explore, quietly};
use super::{scenario, theatre};

/// Independent searches for each race.
const SEARCHES: u64 = 5;
/// A search that takes more schedules than this has missed the race.
const SCHEDULES_MAX: u64 = 60_000;

/// The scenario that each race is searched in.
fn home(race: Bug) -> &'static str {
    match race {
        Bug::Overtaken | Bug::LeadForgotten => "tickets",
        Bug::AskUnseen => "upkeep",
        Bug::PublishedBeforeApplied | Bug::SnapshotBeforeLock => "snapshots",
        Bug::ClosedInHaste => "close",
        Bug::SyncBesideGate => "failures",
        Bug::BellUnheard => "background",
        _ => "commits",
    }
}

/// A planted bug is active for one thread of the system: all threads of a schedule run on it.
#[test]
fn races_that_are_planted_are_caught() {
    println!("| Race | Scenario | Schedules: median | Least | Most | Caught as |");
    println!("|---|---|---:|---:|---:|---|");
    for race in Bug::RACES {
        let scenario = scenario(home(race));
        let mut found = vec![];
        for search in 0..SEARCHES {
            let first = (race as u64) * 10_000_000 + search * SCHEDULES_MAX;
            plant(Some(race));
            let explored = quietly(|| {
                explore(first..first + SCHEDULES_MAX, move |tape| {
                    theatre::play(&scenario, tape, false)
                })
            });
            plant(None);
            let Some((_, what)) = explored.failure else {
                panic!("{race:?} was not caught by {SCHEDULES_MAX} schedules from {first}");
            };
            found.push((explored.schedules, what));
        }
        found.sort();
        let [(least, _), .., (most, _)] = &found[..] else { panic!("two searches at least") };
        let (median, what) = &found[found.len() / 2];
        let what: String =
            what.chars().take_while(|c| !matches!(c, '[' | '{' | '(' | ';')).collect();
        let what = what.split(": expected").next().unwrap_or_default().trim().trim_end_matches(':');
        println!("| `{race:?}` | {} | {median} | {least} | {most} | {what} |", scenario.name);
    }
}

/// What the searches catch is the race, not the engine.
#[test]
fn the_same_schedules_without_races_are_quiet() {
    for race in Bug::RACES {
        let scenario = scenario(home(race));
        let first = (race as u64) * 10_000_000;
        let explored =
            explore(first..first + 500, move |tape| theatre::play(&scenario, tape, false));
        assert_eq!(explored.failure, None, "{}", scenario.name);
    }
}

#[test]
fn the_table_of_the_docs_has_all_races() {
    let page = include_str!("../../../docs/concurrency.md");
    for race in Bug::RACES {
        assert!(page.contains(&format!("| `{race:?}` |")), "put {race:?} into docs/concurrency.md");
    }
}
