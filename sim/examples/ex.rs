//! scratch
use runstone_sim::exhaust::*;
fn main() {
    let a: Vec<usize> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let t = std::time::Instant::now();
    for setting in Setting::ALL.into_iter().skip(a[2]).take(a[3]) {
        let mut r = Report::default();
        for w in workloads(setting, a[0]) {
            r.add(explore(
                &w,
                &Bounds {
                    depth: a[1],
                    deeper_ops: a[4],
                    states_max: 1 << 16,
                    brute_force: a.len() > 5,
                },
            ));
        }
        let n = r.distinct();
        println!(
            "{setting:?} {} workloads {n} distinct {:?} {:?}",
            r.workloads,
            r.levels,
            t.elapsed()
        );
        if let Some(b) = r.breach {
            println!("{b}");
        }
    }
}
