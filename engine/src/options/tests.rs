//! What is refused by its name, and what is lived with.

use super::*;

#[test]
fn the_default_options_are_valid() {
    assert!(Options::default().validate().is_ok());
}

#[test]
fn a_batch_limit_that_cannot_hold_one_put_is_refused() {
    let mut options = Options::default();
    options.limits.batch_bytes_max =
        options.limits.key_bytes_max + options.limits.value_bytes_max + CHANGE_OVERHEAD_BYTES;
    assert!(options.validate().is_ok());
    options.limits.batch_bytes_max -= 1;
    assert!(options.validate().is_err());
}

#[test]
fn a_batch_size_of_zero_is_refused() {
    let options = Options {
        durability: DurabilityMode::Batched { interval_ms: 10, batch_size: 0 },
        ..Options::default()
    };
    assert!(options.validate().is_err());
}

/// A loop of steps of nothing would not end.
#[test]
fn a_step_of_nothing_is_refused_by_its_name_and_a_step_of_one_is_not() {
    type Set = fn(&mut Steps, u8);
    let knobs: [(&str, Set); 8] = [
        ("read_bytes", |steps, n| steps.read_bytes = n.into()),
        ("rewrite_bytes", |steps, n| steps.rewrite_bytes = n.into()),
        ("scan_entries_first", |steps, n| steps.scan_entries_first = n.into()),
        ("scan_entries_max", |steps, n| {
            steps.scan_entries_max = n.into();
            steps.scan_entries_first = 1;
        }),
        ("scan_bytes_max", |steps, n| steps.scan_bytes_max = n.into()),
        ("scan_visits_max", |steps, n| steps.scan_visits_max = n.into()),
        ("list_runs_max", |steps, n| steps.list_runs_max = n.into()),
        ("maintain_keys_max", |steps, n| steps.maintain_keys_max = n.into()),
    ];
    for (name, set) in knobs {
        let mut options = Options::default();
        set(&mut options.steps, 1);
        assert!(options.validate().is_ok(), "{name} of 1");
        set(&mut options.steps, 0);
        let refusal = options.validate().unwrap_err().to_string();
        assert!(refusal.contains(&format!("steps.{name} must be at least")), "{refusal}");
    }
}

#[test]
fn steps_beyond_what_a_record_may_take_or_that_shrink_are_refused() {
    let mut options = Options::default();
    options.steps.read_bytes = RECORD_BYTES_MAX;
    options.steps.rewrite_bytes = 1 << 30;
    options.steps.scan_entries_first = options.steps.scan_entries_max;
    assert!(options.validate().is_ok());
    let breakers: [fn(&mut Steps); 3] = [
        |steps| steps.read_bytes += 1,
        |steps| steps.rewrite_bytes += 1,
        |steps| steps.scan_entries_first += 1,
    ];
    for break_it in breakers {
        let mut broken = options.clone();
        break_it(&mut broken.steps);
        assert!(broken.validate().is_err(), "{:?}", broken.steps);
    }
}

#[test]
fn the_mode_sets_the_intervals_of_its_own_level_only() {
    let options = Options {
        durability: DurabilityMode::Batched { interval_ms: 7, batch_size: 3 },
        ..Options::default()
    };
    let policy = options.policy();
    assert_eq!(policy.batch_size, 3);
    assert_eq!(policy.batched_interval, Duration::from_millis(7));
    assert_eq!(policy.async_interval, Duration::from_millis(100));
}
