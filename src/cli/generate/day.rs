//! How traffic spreads over a day: quiet before dawn, a lunch-time and a larger evening peak (UTC).

use crate::base::Timestamp;

/// Relative traffic at each full hour; between hours it changes linearly.
const HOURS: [u64; 24] =
    [52, 38, 27, 20, 17, 19, 28, 44, 62, 75, 84, 93, 100, 96, 90, 88, 92, 101, 115, 130, 142, 138, 112, 78];

/// Slots of five minutes within which traffic is even.
const SLOTS: usize = 288;

/// A span of time with the daily curve on it.
#[derive(Clone, Debug)]
pub struct Day {
    start: Timestamp,
    length: i64,
    /// Traffic up to the end of each slot.
    sums: Vec<u64>,
}

impl Day {
    /// The curve over `[start, start + length)`; the curve follows the time of day wherever the span starts.
    pub fn new(start: Timestamp, length_micros: i64) -> Self {
        let mut sum = 0;
        let slot = |index: usize| start.micros() + length_micros / SLOTS as i64 * index as i64;
        let sums = (0..SLOTS).map(|index| {
            sum += traffic_at(slot(index));
            sum
        });
        Self { start, length: length_micros, sums: sums.collect() }
    }

    /// The moment before which this share (0 ≤ share < 1) of the traffic has come.
    pub fn moment(&self, share: f64) -> Timestamp {
        let total = self.sums.last().copied().unwrap_or(1) as f64;
        let wanted = share * total;
        let slot = self.sums.partition_point(|sum| (*sum as f64) <= wanted).min(SLOTS - 1);
        let before = if slot == 0 { 0 } else { self.sums[slot - 1] };
        let inside = (wanted - before as f64) / (self.sums[slot] - before) as f64;
        let offset = (slot as f64 + inside) / SLOTS as f64 * self.length as f64;
        Timestamp(self.start.micros() + (offset as i64).clamp(0, self.length - 1))
    }

    /// The share of the traffic that comes before this moment; the inverse of [`Day::moment`].
    pub fn share_before(&self, moment: Timestamp) -> f64 {
        let total = self.sums.last().copied().unwrap_or(1) as f64;
        let offset = (moment.micros() - self.start.micros()).clamp(0, self.length) as f64;
        let slots = offset / self.length as f64 * SLOTS as f64;
        let slot = (slots as usize).min(SLOTS - 1);
        let before = if slot == 0 { 0 } else { self.sums[slot - 1] };
        (before as f64 + (slots - slot as f64) * (self.sums[slot] - before) as f64) / total
    }

    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// The first moment after it.
    pub fn end(&self) -> Timestamp {
        Timestamp(self.start.micros() + self.length)
    }
}

/// Traffic at a moment, times 60.
fn traffic_at(micros: i64) -> u64 {
    let minute = micros.div_euclid(60_000_000).rem_euclid(1_440).unsigned_abs();
    let (hour, minute) = ((minute / 60) as usize, minute % 60);
    HOURS[hour] * (60 - minute) + HOURS[(hour + 1) % 24] * minute
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;

    fn per_hour(day: &Day) -> Vec<u32> {
        let mut hours = vec![0; 24];
        for index in 0..100_000 {
            let moment = day.moment(f64::from(index) / 100_000.0);
            hours[(moment.micros().rem_euclid(DAY) / 3_600_000_000) as usize] += 1;
        }
        hours
    }

    #[test]
    fn traffic_follows_the_curve() {
        let hours = per_hour(&Day::new(Timestamp(0), DAY));
        let total: u64 = (0..24).map(|hour| HOURS[hour] + HOURS[(hour + 1) % 24]).sum();
        for hour in 0..24 {
            let wanted = (HOURS[hour] + HOURS[(hour + 1) % 24]) as f64 / total as f64 * 100_000.0;
            assert!((f64::from(hours[hour]) - wanted).abs() < wanted * 0.03, "hour {hour}: {} {wanted}", hours[hour]);
        }
    }

    #[test]
    fn a_span_that_starts_at_noon_has_the_same_hours() {
        let midnight = per_hour(&Day::new(Timestamp(0), DAY));
        let noon = per_hour(&Day::new(Timestamp(DAY / 2), DAY));
        for hour in 0..24 {
            assert!(midnight[hour].abs_diff(noon[hour]) < 10, "hour {hour}");
        }
    }

    #[test]
    fn share_and_moment_are_inverse() {
        let day = Day::new(Timestamp(5 * 3_600_000_000), DAY);
        for share in [0.0, 0.1, 0.333, 0.5, 0.999] {
            assert!((day.share_before(day.moment(share)) - share).abs() < 1e-6, "{share}");
        }
        assert_eq!(day.share_before(day.end()), 1.0);
    }

    #[test]
    fn moments_are_ordered_and_inside() {
        let day = Day::new(Timestamp(1_000), 7_000_000);
        let moments: Vec<_> = (0..1_000).map(|index| day.moment(f64::from(index) / 1_000.0)).collect();
        assert!(moments.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(moments[0] >= day.start() && moments[999] < day.end());
        assert!(day.moment(0.999_999_999_999_999_9) < day.end());
    }
}
