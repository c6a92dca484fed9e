//! Temporary driver.
#![allow(missing_docs, clippy::disallowed_methods)]
fn main() {
    let args: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    if args.len() == 1 {
        let case = runstone_sim::harness::generate::generate(args[0]);
        let outcome = runstone_sim::harness::run(&case, true);
        for l in &outcome.trace {
            println!("{l}");
        }
        println!("{:?} {:?}\n{:?}", outcome.failure, case.world, case.options);
        return;
    }
    let t = std::time::Instant::now();
    let mut failures = std::collections::BTreeMap::<&str, (u64, u64, String)>::new();
    let (mut refusals, mut openings, mut crashes) = (0, 0, 0);
    for seed in args[0]..args[1] {
        let o = runstone_sim::harness::run_seed(seed);
        refusals += o.refusals;
        openings += o.openings;
        crashes += o.crashes.values().sum::<u64>();
        if let Some(f) = o.failure {
            let e = failures.entry(f.clause).or_insert((0, seed, f.to_string()));
            e.0 += 1;
        }
    }
    println!(
        "{} seeds/s, refusals {refusals}, openings {openings}, crashes {crashes}",
        (args[1] - args[0]) as f64 / t.elapsed().as_secs_f64()
    );
    for (c, (n, s, m)) in failures {
        println!("{c}: {n} first seed {s}: {m}");
    }
}
