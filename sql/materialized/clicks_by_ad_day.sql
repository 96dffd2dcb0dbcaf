-- How many clicks did each ad get per day and country, and what did they cost?
-- day is the start of the day, UTC; spend_micros is in millionths of the campaign's currency.
CREATE MATERIALIZED VIEW clicks_by_ad_day
WITH (refresh = 'continuous', partition_by = 'month(day)', sort_by = 'ad_id, day')
AS
SELECT
  ad_id,
  date_trunc('day', hour) AS day,
  country,
  sum(clicks) AS clicks,
  sum(spend_micros) AS spend_micros
FROM clicks_by_ad_hour
GROUP BY ad_id, date_trunc('day', hour), country;
