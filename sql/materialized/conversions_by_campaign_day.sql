-- How many conversions did the clicks of each campaign lead to per day, and what were they worth?
-- day is the day of the conversion, UTC. A conversion counts for the campaign of the click it is attributed to, when that click
-- came first, less than seven days before. A click that led to several conversions is one converting click.
-- revenue_micros is in millionths of the campaign's currency.
-- Always true: days that late clicks or conversions touch are worked out again, and until then when they are read.
CREATE MATERIALIZED VIEW conversions_by_campaign_day
WITH (refresh = 'every 5 minutes', sort_by = 'campaign_id, day')
AS
SELECT
  clicks.campaign_id,
  date_trunc('day', conversions.event_time) AS day,
  count(*) AS conversions,
  count(DISTINCT clicks.event_id) AS converting_clicks,
  count(DISTINCT conversions.user_id) AS converting_users,
  coalesce(sum(conversions.revenue_micros), 0) AS revenue_micros
FROM conversions
JOIN clicks
  ON conversions.click_id = clicks.event_id
  AND conversions.event_time >= clicks.event_time
  AND conversions.event_time < clicks.event_time + INTERVAL '7 days'
GROUP BY clicks.campaign_id, date_trunc('day', conversions.event_time);
