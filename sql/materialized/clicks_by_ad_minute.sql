-- How many clicks did each ad get per minute and country, and what did they cost?
-- minute is the start of the minute, UTC; spend_micros is in millionths of the campaign's currency.
-- Always true: what is not absorbed yet is read from clicks.
CREATE MATERIALIZED VIEW clicks_by_ad_minute
WITH (refresh = 'continuous', partition_by = 'day(minute)', sort_by = 'ad_id, minute')
AS
SELECT
  ad_id,
  date_trunc('minute', event_time) AS minute,
  country,
  count(*) AS clicks,
  coalesce(sum(price_micros), 0) AS spend_micros
FROM clicks
GROUP BY ad_id, date_trunc('minute', event_time), country;
