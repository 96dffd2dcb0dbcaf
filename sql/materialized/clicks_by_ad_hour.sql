-- How many clicks did each ad get per hour and country, and what did they cost?
-- hour is the start of the hour, UTC; spend_micros is in millionths of the campaign's currency.
CREATE MATERIALIZED VIEW clicks_by_ad_hour
WITH (refresh = 'continuous', partition_by = 'month(hour)', sort_by = 'ad_id, hour')
AS
SELECT
  ad_id,
  date_trunc('hour', minute) AS hour,
  country,
  sum(clicks) AS clicks,
  sum(spend_micros) AS spend_micros
FROM clicks_by_ad_minute
GROUP BY ad_id, date_trunc('hour', minute), country;
