//! The five things to try, each run for real before it is printed.

use std::sync::Arc;

use crate::app::Running;
use crate::base::Timestamp;

use super::super::args::OutputFormat;
use super::super::failure::Failure;
use super::super::out;
use super::super::repl::{Audience, Embedded, Session};
use super::facts::Facts;

const HOUR_MICROS: i64 = 3_600_000_000;

/// Prints and runs all five.
///
/// # Errors
/// Whatever fails: an example that does not work must not be shown.
pub async fn run(running: &Running, facts: &Facts) -> Result<(), Failure> {
    let http = format!("http://{}", running.addresses.http);
    let mut session =
        Session::new(Arc::new(Embedded::new(running.app.clone())), Audience::Script, OutputFormat::Table)?;
    let url = format!("grpc://{}", running.addresses.flight);

    title(1, "Ask in SQL, from the REPL or any ADBC or JDBC tool")?;
    sql(
        &mut session,
        &url,
        "SELECT country, count(*) AS clicks, sum(price_micros) AS spend_micros FROM clicks GROUP BY country ORDER BY 2 DESC LIMIT 5",
    )
    .await?;

    title(2, "Count one ad's clicks of an hour in one country")?;
    let to = Timestamp(facts.last_click.micros().div_euclid(HOUR_MICROS) * HOUR_MICROS);
    let from = Timestamp(to.micros() - HOUR_MICROS);
    let path = format!("/v1/ads/{}/aggregated_count?from={}&to={}&filter=country:US", facts.top_ad, at(from), at(to));
    curl(&format!("{http}{path}")).await?;

    title(3, "The most clicked ads of the last minutes")?;
    let age_minutes = facts.now.since(facts.last_click).as_secs() / 60;
    curl(&format!("{http}/v1/ads/popular_ads?count=5&window={}", age_minutes + 60)).await?;

    title(4, "Which campaigns do well, which overspend")?;
    sql(
        &mut session,
        &url,
        "SELECT campaign_name, impressions, clicks, conversions, spend_micros, revenue_micros, round(ctr, 4) AS ctr FROM campaign_performance ORDER BY spend_micros DESC LIMIT 5",
    )
    .await?;

    title(5, "A partner feed: the cheapest available offer of each product")?;
    sql(
        &mut session,
        &url,
        "SELECT id, substr(title, 1, 40) AS title, vendor_id, list_price, sale_price FROM partner_feed_cheapest_offer ORDER BY id LIMIT 5",
    )
    .await
}

fn title(number: u8, text: &str) -> Result<(), Failure> {
    Ok(out::say(&format!("\n{number}. {text}"))?)
}

async fn sql(session: &mut Session, url: &str, sql: &str) -> Result<(), Failure> {
    out::say(&format!("   $ adlake sql --url {url} -c \"{sql}\""))?;
    session.run_statement(sql).await
}

async fn curl(url: &str) -> Result<(), Failure> {
    out::say(&format!("   $ curl '{url}'"))?;
    let answer = reqwest::get(url).await?;
    let status = answer.status();
    let body = answer.text().await?;
    if !status.is_success() {
        return Err(Failure::new(format!("{url} answered {status}: {body}")));
    }
    Ok(out::say(body.trim_end())?)
}

/// Seconds are enough for people.
fn at(moment: Timestamp) -> String {
    moment.to_string().replace(".000000", "")
}
