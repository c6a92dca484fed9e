//! Numbers with a Zipf distribution, as YCSB draws them.
//!
//! The method is that of Gray et al., "Quickly Generating Billion-Record Synthetic Databases"
//! (SIGMOD 1994): one uniform number gives one rank, with two exact ranks and a power law for the
//! others. What is popular is spread over the keys by a permutation, as YCSB's scrambled
//! generator does by a hash; a permutation gives no two ranks the same key.

use crate::data::{Shuffle, next};

/// YCSB's skew.
pub const THETA: f64 = 0.99;

/// A seeded stream of numbers below a bound.
#[derive(Clone, Debug)]
pub struct Zipf {
    state: u64,
    count: u64,
    theta: f64,
    alpha: f64,
    zeta_n: f64,
    eta: f64,
    spread: Shuffle,
}

impl Zipf {
    /// Numbers below `count`, with skew `theta` above 0 and below 1.
    pub fn new(count: u64, theta: f64, seed: u64) -> Self {
        let zeta_n = zeta(count, theta);
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - theta)) / (1.0 - zeta(2, theta) / zeta_n);
        Zipf {
            state: seed,
            count,
            theta,
            alpha: 1.0 / (1.0 - theta),
            zeta_n,
            eta,
            // The same for each seed: threads agree about what is popular.
            spread: Shuffle::new(count, 0x0070_6f70),
        }
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        let rank = self.rank();
        self.spread.at(rank)
    }

    /// The next rank: 0 is the most popular.
    fn rank(&mut self) -> u64 {
        let uniform = unit(&mut self.state);
        let scaled = uniform * self.zeta_n;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5_f64.powf(self.theta) {
            return 1.min(self.count - 1);
        }
        let rank = self.count as f64 * (self.eta * uniform - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.count - 1)
    }
}

/// A number in [0, 1).
pub fn unit(state: &mut u64) -> f64 {
    (next(state) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The sum of 1 / i^theta. Beyond a million terms the integral stands for the rest: at a skew
/// below 1 its error is far below a thousandth.
fn zeta(count: u64, theta: f64) -> f64 {
    const EXACT: u64 = 1_000_000;
    let exact: f64 = (1..=count.min(EXACT)).map(|i| (i as f64).powf(-theta)).sum();
    if count <= EXACT {
        return exact;
    }
    let integral = |x: f64| x.powf(1.0 - theta) / (1.0 - theta);
    exact + integral(count as f64 + 0.5) - integral(EXACT as f64 + 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 400_000;

    fn shares(count: u64) -> Vec<f64> {
        let mut zipf = Zipf::new(count, THETA, 7);
        let mut hits = vec![0_u64; count as usize];
        for _ in 0..DRAWS {
            hits[zipf.rank() as usize] += 1;
        }
        hits.into_iter().map(|hits| hits as f64 / DRAWS as f64).collect()
    }

    #[test]
    fn the_first_ranks_have_the_shares_that_the_law_gives_them() {
        let shares = shares(1000);
        let sum = zeta(1000, THETA);
        for rank in [0, 1] {
            let expected = ((rank + 1) as f64).powf(-THETA) / sum;
            let share = shares[rank];
            assert!((share / expected - 1.0).abs() < 0.03, "rank {rank}: {share}, not {expected}");
        }
    }

    #[test]
    fn the_shares_of_whole_decades_are_near_the_law() {
        let shares = shares(10_000);
        let sum = zeta(10_000, THETA);
        for decade in [10..100_usize, 100..1000, 1000..10_000] {
            let expected: f64 = decade.clone().map(|r| ((r + 1) as f64).powf(-THETA) / sum).sum();
            let share: f64 = shares[decade.clone()].iter().sum();
            assert!((share / expected - 1.0).abs() < 0.1, "{decade:?}: {share}, not {expected}");
        }
    }

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let draw = |seed| {
            let mut zipf = Zipf::new(1000, THETA, seed);
            (0..100).map(|_| zipf.draw()).collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }

    #[test]
    fn every_number_is_below_the_bound_also_for_tiny_bounds() {
        for count in [1, 2, 3, 10] {
            let mut zipf = Zipf::new(count, THETA, 1);
            assert!((0..1000).all(|_| zipf.draw() < count));
        }
    }

    #[test]
    fn the_sum_is_continued_without_a_step() {
        let direct: f64 = (1..=2_000_000_u64).map(|i| (i as f64).powf(-THETA)).sum();
        assert!((zeta(2_000_000, THETA) / direct - 1.0).abs() < 1e-6);
    }
}
