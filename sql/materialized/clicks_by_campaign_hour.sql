-- How often was each campaign clicked per hour, and what did that cost?
-- hour is the start of the hour, UTC; spend_micros is the cost of clicks alone, in millionths of the campaign's currency.
-- What is stored is by campaign_id and hour; name, advertiser and currency are joined when the view is read, so a campaign that
-- changes is right at once and at no cost. They are NULL for clicks without a campaign, or of one that campaigns lacks.
CREATE MATERIALIZED VIEW clicks_by_campaign_hour
WITH (refresh = 'continuous', partition_by = 'month(hour)', sort_by = 'campaign_id, hour')
AS
SELECT
  clicks.campaign_id,
  date_trunc('hour', event_time) AS hour,
  campaigns.name AS campaign_name,
  campaigns.advertiser_id,
  campaigns.currency,
  count(*) AS clicks,
  coalesce(sum(price_micros), 0) AS spend_micros
FROM clicks
LEFT JOIN campaigns ON campaigns.campaign_id = clicks.campaign_id
GROUP BY clicks.campaign_id, date_trunc('hour', event_time), campaigns.name, campaigns.advertiser_id, campaigns.currency;
