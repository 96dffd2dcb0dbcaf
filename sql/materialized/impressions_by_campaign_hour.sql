-- How often was each campaign shown per hour, and what did that cost?
-- hour is the start of the hour, UTC; spend_micros is the cost of impressions alone, in millionths of the campaign's currency.
-- What is stored is by campaign_id and hour; name, advertiser and currency are joined when the view is read, so a campaign that
-- changes is right at once and at no cost. They are NULL for impressions without a campaign, or of one that campaigns lacks.
CREATE MATERIALIZED VIEW impressions_by_campaign_hour
WITH (refresh = 'continuous', partition_by = 'month(hour)', sort_by = 'campaign_id, hour')
AS
SELECT
  impressions.campaign_id,
  date_trunc('hour', event_time) AS hour,
  campaigns.name AS campaign_name,
  campaigns.advertiser_id,
  campaigns.currency,
  count(*) AS impressions,
  coalesce(sum(price_micros), 0) AS spend_micros
FROM impressions
LEFT JOIN campaigns ON campaigns.campaign_id = impressions.campaign_id
GROUP BY impressions.campaign_id, date_trunc('hour', event_time), campaigns.name, campaigns.advertiser_id, campaigns.currency;
