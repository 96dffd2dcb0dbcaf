//! Zipf-distributed ranks: rank `k` of `n` with probability proportional to `1 / k^exponent`.
//!
//! Rejection-inversion, W. Hörmann and G. Derflinger, "Rejection-inversion to generate variates from monotone discrete
//! distributions", ACM TOMACS 6(3), 1996: constant time and memory for any `n`, about 1.1 draws per rank.

use rand::Rng;

/// A Zipf distribution over `1..=n`.
#[derive(Clone, Debug)]
pub struct Zipf {
    n: f64,
    exponent: f64,
    /// The integral of the density at 1.5, less 1.
    integral_first: f64,
    /// The integral of the density at n + 0.5.
    integral_last: f64,
    /// Candidates nearer than this to their rank are accepted without computing the density.
    shortcut: f64,
}

impl Zipf {
    /// `n` at least 1, `exponent` above 0.
    pub fn new(n: u32, exponent: f64) -> Self {
        let mut zipf =
            Self { n: f64::from(n.max(1)), exponent, integral_first: 0.0, integral_last: 0.0, shortcut: 0.0 };
        zipf.integral_first = zipf.integral(1.5) - 1.0;
        zipf.integral_last = zipf.integral(zipf.n + 0.5);
        zipf.shortcut = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    /// A rank in `1..=n`.
    pub fn sample(&self, random: &mut impl Rng) -> u32 {
        loop {
            let uniform: f64 = random.random();
            let height = self.integral_last + uniform * (self.integral_first - self.integral_last);
            let x = self.inverse(height);
            let rank = (x + 0.5).floor().clamp(1.0, self.n);
            if rank - x <= self.shortcut || height >= self.integral(rank + 0.5) - self.density(rank) {
                return rank as u32;
            }
        }
    }

    fn density(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// The integral of the density from 1 to `x`, also where the exponent is 1.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        let t = (1.0 - self.exponent) * log;
        let factor = if t.abs() > 1e-8 { t.exp_m1() / t } else { 1.0 + t / 2.0 };
        factor * log
    }

    fn inverse(&self, y: f64) -> f64 {
        let t = (y * (1.0 - self.exponent)).max(-1.0);
        let factor = if t.abs() > 1e-8 { t.ln_1p() / t } else { 1.0 - t / 2.0 };
        (factor * y).exp()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Chi-squared of 200,000 samples against the exact probabilities of the first ranks and the rest.
    #[test]
    fn ranks_have_zipfs_probabilities() {
        for (n, exponent) in [(1_000, 1.0), (50, 0.7), (100_000, 1.3)] {
            let zipf = Zipf::new(n, exponent);
            let mut random = ChaCha8Rng::seed_from_u64(7);
            let samples = 200_000;
            let mut seen = [0u32; 11];
            for _ in 0..samples {
                let rank = zipf.sample(&mut random);
                assert!((1..=n).contains(&rank));
                seen[(rank as usize - 1).min(10)] += 1;
            }
            let weight = |rank: u32| f64::from(rank).powf(-exponent);
            let total: f64 = (1..=n).map(weight).sum();
            let mut wanted: Vec<f64> = (1..=10).map(|rank| weight(rank) / total * f64::from(samples)).collect();
            wanted.push(f64::from(samples) - wanted.iter().sum::<f64>());
            let chi_squared: f64 =
                seen.iter().zip(&wanted).map(|(seen, wanted)| (f64::from(*seen) - wanted).powi(2) / wanted).sum();
            assert!(chi_squared < 29.6, "n {n}, exponent {exponent}: {chi_squared} (10 degrees of freedom, p = 0.001)");
        }
    }

    #[test]
    fn one_rank_is_always_that_rank() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        assert!((0..100).all(|_| Zipf::new(1, 1.1).sample(&mut random) == 1));
    }
}
