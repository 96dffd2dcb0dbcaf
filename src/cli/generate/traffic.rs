//! The events of a day, one after another: what is drawn, in which order, what comes late or twice.
//!
//! ```text
//! impression ─(click rate of the ad)─► click, seconds later ─(conversion rate)─► conversion, minutes later
//! ```
//! Traffic is cut into parts that are drawn independently (each has its own random stream of the seed), so parts can be
//! made side by side and the bytes do not depend on how many threads there are. Order is arrival; an event that comes late
//! has an event time before its neighbours'. A duplicate is the very same event again a little later, as a client that did
//! not hear "accepted" sends it. An event's id depends on seed, kind and position only, not on the day.

use std::collections::VecDeque;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::base::Timestamp;

use super::day::Day;
use super::world::{Ad, Pays, User, World};
use super::zipf::Zipf;

/// Popularity of ads: the k-th ad has 1/k^1.05 of the first one's traffic.
pub const POPULARITY: f64 = 1.05;
/// Duplicates come within this many events.
const RESENT_WITHIN: usize = 1_000;
/// Longest delay of a late event.
const LATE_MICROS_MAX: f64 = 6.0 * 3_600e6;
const LATE_MICROS_MEAN: f64 = 20.0 * 60e6;
const CLICK_MICROS_MEAN: f64 = 8e6;
const CONVERSION_MICROS_MEAN: f64 = 30.0 * 60e6;

/// What kind of event; also names files and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Impressions,
    Clicks,
    Conversions,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Impressions => "impressions",
            Self::Clicks => "clicks",
            Self::Conversions => "conversions",
        }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: u128,
    /// The impression of a click, the click of a conversion; none of an event that was drawn directly.
    pub cause: Option<u128>,
    pub time: Timestamp,
    pub ad: Ad,
    pub user: User,
    /// Price of an impression or click, value of a conversion.
    pub micros: i64,
}

/// What to draw.
#[derive(Clone, Debug)]
pub struct Traffic {
    pub world: World,
    pub day: Day,
    /// Rows of the main kind, duplicates included.
    pub rows: u64,
    /// Share of events that come late.
    pub late: f64,
    /// Share of rows that are duplicates.
    pub duplicates: f64,
}

/// How many of what were drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub rows: u64,
    pub duplicates: u64,
    pub late: u64,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.rows += other.rows;
        self.duplicates += other.duplicates;
        self.late += other.late;
    }
}

/// Events of one kind, drawn directly.
pub struct Source<'a> {
    traffic: &'a Traffic,
    kind: Kind,
    zipf: Zipf,
    random: ChaCha8Rng,
    recent: VecDeque<Event>,
    next: u64,
    end: u64,
    pub tally: Tally,
}

impl<'a> Source<'a> {
    /// The rows `range` of the traffic, which must be part `part`.
    pub fn new(traffic: &'a Traffic, kind: Kind, part: u64, range: std::ops::Range<u64>) -> Self {
        Self {
            traffic,
            kind,
            zipf: Zipf::new(traffic.world.ads, POPULARITY),
            random: random_of(traffic.world.seed, kind as u64, part),
            recent: VecDeque::with_capacity(RESENT_WITHIN),
            next: range.start,
            end: range.end,
            tally: Tally::default(),
        }
    }

    /// The next row, and whether it is a duplicate of an earlier one.
    pub fn draw(&mut self) -> Option<(Event, bool)> {
        self.draw_at(None)
    }

    /// As [`Source::draw`], at a given moment instead of the next one of the day.
    pub fn draw_at(&mut self, now: Option<Timestamp>) -> Option<(Event, bool)> {
        if self.next >= self.end {
            return None;
        }
        let position = self.next;
        self.next += 1;
        self.tally.rows += 1;
        if !self.recent.is_empty() && self.random.random_bool(self.traffic.duplicates) {
            let again = self.random.random_range(0..self.recent.len());
            self.tally.duplicates += 1;
            return Some((self.recent[again].clone(), true));
        }
        let event = self.fresh(position, now);
        if self.traffic.duplicates > 0.0 {
            if self.recent.len() == RESENT_WITHIN {
                self.recent.pop_front();
            }
            self.recent.push_back(event.clone());
        }
        Some((event, false))
    }

    fn fresh(&mut self, position: u64, now: Option<Timestamp>) -> Event {
        let Traffic { world, day, rows, late, .. } = self.traffic;
        let random = &mut self.random;
        let share = (position as f64 + random.random::<f64>()) / *rows as f64;
        let mut time = now.unwrap_or_else(|| day.moment(share));
        if *late > 0.0 && random.random_bool(*late) {
            self.tally.late += 1;
            let delay = exponential(random, LATE_MICROS_MEAN).min(LATE_MICROS_MAX);
            let earliest = if now.is_some() { i64::MIN } else { day.start().micros() };
            time = Timestamp((time.micros() - delay as i64).max(earliest));
        }
        let ad = world.ad_of_rank(self.zipf.sample(random));
        let share_of_users = random.random::<f64>().powi(2);
        let user = world.user((share_of_users * f64::from(world.users)) as u32);
        let micros = match self.kind {
            Kind::Impressions => impression_price(&ad, random),
            Kind::Clicks => click_price(&ad, random),
            Kind::Conversions => conversion_value(&ad, random),
        };
        Event { id: random.random(), cause: None, time, ad, user, micros }
    }
}

/// What follows from impressions: clicks, and conversions of clicks. Draws from its own random streams, so the
/// impressions are the same whether they are followed or not.
pub struct Followers<'a> {
    traffic: &'a Traffic,
    clicks: ChaCha8Rng,
    conversions: ChaCha8Rng,
    pub click_tally: Tally,
    pub conversion_tally: Tally,
}

impl<'a> Followers<'a> {
    pub fn new(traffic: &'a Traffic, part: u64) -> Self {
        let seed = traffic.world.seed;
        Self {
            traffic,
            clicks: random_of(seed, 3, part),
            conversions: random_of(seed, 4, part),
            click_tally: Tally::default(),
            conversion_tally: Tally::default(),
        }
    }

    /// Adds the click and conversion of an impression, if there are any, once or (duplicates) twice.
    pub fn follow(&mut self, impression: &Event, clicks: &mut Vec<Event>, conversions: &mut Vec<Event>) {
        let day_end = self.traffic.day.end();
        let random = &mut self.clicks;
        if !random.random_bool(f64::from(impression.ad.click_rate_ppm) / 1e6) {
            return;
        }
        let delay = 500_000.0 + exponential(random, CLICK_MICROS_MEAN);
        let click = Event {
            id: random.random(),
            cause: Some(impression.id),
            time: Timestamp(impression.time.micros() + delay as i64),
            micros: click_price(&impression.ad, random),
            ..impression.clone()
        };
        if click.time >= day_end {
            return;
        }
        let twice = random.random_bool(self.traffic.duplicates);
        push(click.clone(), twice, clicks, &mut self.click_tally);
        let random = &mut self.conversions;
        if !random.random_bool(f64::from(click.ad.conversion_rate_ppm) / 1e6) {
            return;
        }
        let delay = 2e6 + exponential(random, CONVERSION_MICROS_MEAN);
        let conversion = Event {
            id: random.random(),
            cause: Some(click.id),
            time: Timestamp(click.time.micros() + delay as i64),
            micros: conversion_value(&click.ad, random),
            ..click
        };
        if conversion.time < day_end {
            let twice = random.random_bool(self.traffic.duplicates);
            push(conversion, twice, conversions, &mut self.conversion_tally);
        }
    }
}

fn push(event: Event, twice: bool, into: &mut Vec<Event>, tally: &mut Tally) {
    if twice {
        into.push(event.clone());
        tally.rows += 1;
        tally.duplicates += 1;
    }
    into.push(event);
    tally.rows += 1;
}

fn random_of(seed: u64, stream: u64, part: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream << 32 | part);
    random
}

fn exponential(random: &mut ChaCha8Rng, mean: f64) -> f64 {
    -mean * (1.0 - random.random::<f64>()).ln()
}

/// 80 % to 120 % of the ad's price, in whole micros; nothing when the campaign pays per impression.
fn click_price(ad: &Ad, random: &mut ChaCha8Rng) -> i64 {
    let price = ad.click_price_micros * random.random_range(800..=1_200) / 1_000;
    if ad.pays == Pays::PerClick { price } else { 0 }
}

/// A click's price times how rare clicks are; nothing when the campaign pays per click.
fn impression_price(ad: &Ad, random: &mut ChaCha8Rng) -> i64 {
    let price = typical_impression_price(ad) * random.random_range(800..=1_200) / 1_000;
    if ad.pays == Pays::PerImpression { price } else { 0 }
}

/// Before chance: what an impression costs, or would.
pub fn typical_impression_price(ad: &Ad) -> i64 {
    ad.click_price_micros * i64::from(ad.click_rate_ppm) / 1_000_000
}

/// 10 to 60 clicks' worth.
fn conversion_value(ad: &Ad, random: &mut ChaCha8Rng) -> i64 {
    ad.click_price_micros * random.random_range(10_000..=60_000) / 1_000
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn traffic(rows: u64, late: f64, duplicates: f64) -> Traffic {
        let day = Day::new(Timestamp(20_000 * 24 * HOUR), 24 * HOUR);
        Traffic { world: World::new(5, 500, 10_000), day, rows, late, duplicates }
    }

    fn all(traffic: &Traffic, kind: Kind) -> (Vec<Event>, Tally) {
        let mut source = Source::new(traffic, kind, 0, 0..traffic.rows);
        let events = std::iter::from_fn(|| source.draw()).map(|(event, _)| event).collect();
        (events, source.tally)
    }

    #[test]
    fn duplicates_and_late_events_have_their_shares() {
        let traffic = traffic(50_000, 0.02, 0.01);
        let (events, tally) = all(&traffic, Kind::Clicks);
        let distinct: BTreeSet<u128> = events.iter().map(|event| event.id).collect();
        assert_eq!(events.len(), 50_000);
        assert_eq!(distinct.len() as u64, 50_000 - tally.duplicates);
        assert!(tally.duplicates.abs_diff(500) < 80, "{tally:?}");
        assert!(tally.late.abs_diff(990) < 120, "{tally:?}");
        let whole = traffic.day.start()..traffic.day.end();
        assert!(events.iter().all(|event| whole.contains(&event.time)));
    }

    #[test]
    fn without_late_events_and_duplicates_times_only_rise() {
        let (events, tally) = all(&traffic(10_000, 0.0, 0.0), Kind::Clicks);
        assert!(events.windows(2).all(|pair| pair[0].time <= pair[1].time));
        assert_eq!(tally, Tally { rows: 10_000, duplicates: 0, late: 0 });
    }

    #[test]
    fn an_events_id_does_not_depend_on_the_day() {
        let today = traffic(100, 0.0, 0.0);
        let tomorrow = Traffic { day: Day::new(today.day.end(), 24 * HOUR), ..today.clone() };
        let ids = |traffic: &Traffic| all(traffic, Kind::Clicks).0.iter().map(|event| event.id).collect::<Vec<_>>();
        assert_eq!(ids(&today), ids(&tomorrow));
    }

    #[test]
    fn causes_come_before_effects_and_rates_hold() {
        let traffic = traffic(50_000, 0.0, 0.0);
        let (impressions, _) = all(&traffic, Kind::Impressions);
        let (mut clicks, mut conversions) = (Vec::new(), Vec::new());
        let mut followers = Followers::new(&traffic, 0);
        impressions.iter().for_each(|event| followers.follow(event, &mut clicks, &mut conversions));
        let by_id: BTreeMap<u128, &Event> = impressions.iter().chain(&clicks).map(|event| (event.id, event)).collect();
        for effect in clicks.iter().chain(&conversions) {
            let cause = by_id[&effect.cause.unwrap()];
            assert!(cause.time < effect.time && cause.ad == effect.ad && cause.user == effect.user);
        }
        let expected: u64 = impressions.iter().map(|event| u64::from(event.ad.click_rate_ppm)).sum::<u64>() / 1_000_000;
        assert!((clicks.len() as u64).abs_diff(expected) < expected / 10, "{} {expected}", clicks.len());
        assert!(conversions.len() > clicks.len() / 100 && conversions.len() < clicks.len() / 5);
    }

    #[test]
    fn prices_are_whole_micros_near_the_ads_price() {
        let (clicks, _) = all(&traffic(10_000, 0.0, 0.0), Kind::Clicks);
        for click in clicks {
            if click.ad.pays == Pays::PerImpression {
                assert_eq!(click.micros, 0);
                continue;
            }
            let price = click.ad.click_price_micros;
            assert!(click.micros * 10 >= price * 8 - 10 && click.micros * 10 <= price * 12, "{click:?}");
        }
    }
}
