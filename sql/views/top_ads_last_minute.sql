-- Which 100 ads were clicked most in the last 60 seconds?
-- The window is [now - 1 minute, now). Equal counts are ordered by ad_id. spend_micros is in millionths of the currency.
CREATE VIEW top_ads_last_minute AS
SELECT
  ad_id,
  count(*) AS clicks,
  coalesce(sum(price_micros), 0) AS spend_micros
FROM clicks
WHERE event_time >= now() - INTERVAL '1 minute' AND event_time < now()
GROUP BY ad_id
ORDER BY clicks DESC, ad_id
LIMIT 100;
