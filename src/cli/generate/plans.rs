//! The campaigns behind the traffic and their hourly budgets, as rows of `campaigns` and `budgets`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use crate::base::Timestamp;

use super::columns::campaign_name;
use super::traffic::{POPULARITY, Traffic, typical_impression_price};
use super::world::World;

const HOUR_MICROS: i64 = 3_600_000_000;
/// Plans are round: whole cents.
const PLAN_STEP_MICROS: i64 = 10_000;

const THEMES: [&str; 8] = ["Spring", "Brand", "Launch", "Clearance", "Retargeting", "Holiday", "Loyalty", "Search"];

/// All campaigns.
///
/// # Errors
/// None that can happen; the columns fit the schema.
pub fn campaigns(traffic: &Traffic) -> Result<RecordBatch, ArrowError> {
    let world = &traffic.world;
    let each = || 0..world.campaigns();
    let text = |cell: &dyn Fn(u32) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(each().map(cell))) };
    let name = |id: u32| format!("{} {id:03}", THEMES[(world.campaign_bits(id) >> 8) as usize % THEMES.len()]);
    let columns = vec![
        text(&campaign_name),
        times(each().map(|_| traffic.day.start().micros()).collect()),
        text(&name),
        text(&|id| format!("adv{:05}", (world.campaign_bits(id) >> 16) % (u64::from(world.campaigns()) / 3 + 1))),
        text(&|_| "active".to_owned()),
        text(&|_| "USD".to_owned()),
    ];
    let fields = vec![
        Field::new("campaign_id", DataType::Utf8, false),
        time_field("updated_at"),
        Field::new("name", DataType::Utf8, false),
        Field::new("advertiser_id", DataType::Utf8, false),
        Field::new("status", DataType::Utf8, false),
        Field::new("currency", DataType::Utf8, false),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// A plan for every campaign and hour of the traffic: what is to be expected, times 0.7 to 1.3 by campaign, so that some
/// campaigns overspend.
///
/// # Errors
/// None that can happen; the columns fit the schema.
pub fn budgets(traffic: &Traffic) -> Result<RecordBatch, ArrowError> {
    let (start, end) = (traffic.day.start().micros(), traffic.day.end().micros());
    let first = start.div_euclid(HOUR_MICROS) * HOUR_MICROS;
    let hours: Vec<i64> = (0..).map(|hour| first + hour * HOUR_MICROS).take_while(|hour| *hour < end).collect();
    let expected = expected_spend(traffic);
    let (mut campaigns, mut starts, mut planned) = (Vec::new(), Vec::new(), Vec::new());
    for (campaign, spend) in (0..).zip(expected) {
        let factor = 0.7 + (traffic.world.campaign_bits(campaign) % 601) as f64 / 1_000.0;
        for hour in &hours {
            let share =
                traffic.day.share_before(Timestamp(hour + HOUR_MICROS)) - traffic.day.share_before(Timestamp(*hour));
            let plan = (spend * factor * share / PLAN_STEP_MICROS as f64).ceil() as i64 * PLAN_STEP_MICROS;
            campaigns.push(campaign_name(campaign));
            starts.push(*hour);
            planned.push(plan);
        }
    }
    let made = starts.iter().map(|_| start).collect();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(campaigns)), times(starts), Arc::new(Int64Array::from(planned)), times(made)];
    let fields = vec![
        Field::new("campaign_id", DataType::Utf8, false),
        time_field("hour"),
        Field::new("planned_micros", DataType::Int64, false),
        time_field("updated_at"),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Expected spend of each campaign over the whole traffic, from the popularity and prices of its ads.
fn expected_spend(traffic: &Traffic) -> Vec<f64> {
    let Traffic { world, rows, .. } = traffic;
    let weight = |rank: u32| f64::from(rank).powf(-POPULARITY);
    let total: f64 = (1..=world.ads).map(weight).sum();
    let mut spend = vec![0.0; world.campaigns() as usize];
    for rank in 1..=world.ads {
        let ad = World::ad_of_rank(world, rank);
        // Clicks cost what impressions would: the rate is in the price.
        spend[ad.campaign as usize] += weight(rank) / total * typical_impression_price(&ad) as f64;
    }
    spend.iter().map(|share| share * *rows as f64).collect()
}

fn time_field(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false)
}

fn times(micros: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"))
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    use super::super::day::Day;
    use super::super::traffic::{Followers, Kind, Source};
    use super::*;

    fn traffic() -> Traffic {
        let day = Day::new(Timestamp(17 * HOUR_MICROS + 60_000_000), 24 * HOUR_MICROS);
        Traffic { world: World::new(5, 100, 1_000), day, rows: 100_000, late: 0.0, duplicates: 0.0 }
    }

    #[test]
    fn a_plan_for_every_campaign_and_hour() {
        let batch = budgets(&traffic()).unwrap();
        assert_eq!(batch.num_rows(), 5 * 25, "a day that starts within an hour touches 25 of them");
        let planned = batch.column_by_name("planned_micros").unwrap().as_primitive::<Int64Type>();
        assert!(planned.values().iter().all(|micros| *micros >= 0 && micros % PLAN_STEP_MICROS == 0));
        assert_eq!(campaigns(&traffic()).unwrap().num_rows(), 5);
    }

    #[test]
    fn expected_spend_is_near_what_is_spent() {
        let traffic = traffic();
        let mut source = Source::new(&traffic, Kind::Impressions, 0, 0..traffic.rows);
        let mut followers = Followers::new(&traffic, 0);
        let (mut clicks, mut conversions, mut spent) = (Vec::new(), Vec::new(), 0);
        while let Some((event, _)) = source.draw() {
            spent += event.micros;
            followers.follow(&event, &mut clicks, &mut conversions);
        }
        spent += clicks.iter().map(|click| click.micros).sum::<i64>();
        let expected: f64 = expected_spend(&traffic).iter().sum();
        assert!((spent as f64 / expected - 1.0).abs() < 0.1, "{spent} {expected}");
    }
}
