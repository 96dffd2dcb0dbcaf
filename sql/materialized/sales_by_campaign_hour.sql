-- How much did each campaign sell per hour: conversions, and what customers paid?
-- hour is the start of the hour of the conversion, UTC; revenue_micros is income of the advertiser, in millionths of the campaign's
-- currency.
-- What is stored is by campaign_id and hour; name, advertiser and currency are joined when the view is read, so a campaign that
-- changes is right at once and at no cost. They are NULL for conversions without a campaign, or of one that campaigns lacks.
CREATE MATERIALIZED VIEW sales_by_campaign_hour
WITH (refresh = 'continuous', partition_by = 'month(hour)', sort_by = 'campaign_id, hour')
AS
SELECT
  conversions.campaign_id,
  date_trunc('hour', event_time) AS hour,
  campaigns.name AS campaign_name,
  campaigns.advertiser_id,
  campaigns.currency,
  count(*) AS conversions,
  coalesce(sum(revenue_micros), 0) AS revenue_micros
FROM conversions
LEFT JOIN campaigns ON campaigns.campaign_id = conversions.campaign_id
GROUP BY conversions.campaign_id, date_trunc('hour', event_time), campaigns.name, campaigns.advertiser_id, campaigns.currency;
