-- How does each campaign do: impressions, clicks, conversions, spend, and the ratios between them?
-- One row per campaign over all its events, also for campaigns without events; events without a campaign are the row with
-- campaign_id NULL, so the columns add up to the tables.
--   spend_micros   cost of impressions and clicks, in millionths of the campaign's currency (exact)
--   revenue_micros what conversions were worth, same unit (exact)
--   ctr            clicks / impressions
--   cvr            conversions / clicks
--   ecpm_micros    spend per 1,000 impressions, rounded to 6 decimals of a micro
--   cpa_micros     spend per conversion, rounded to 6 decimals of a micro
-- A ratio is NULL when there is nothing to divide by.
-- Its three aggregates are answered from impressions_by_campaign_hour, clicks_by_campaign_hour and sales_by_campaign_hour once those
-- are the smaller tables, always with the events they lack; EXPLAIN shows it.
CREATE VIEW campaign_performance AS
WITH facts AS (
  SELECT campaign_id, count(*) AS impressions, 0 AS clicks, 0 AS conversions, sum(price_micros) AS spend_micros,
    CAST(NULL AS BIGINT) AS revenue_micros
  FROM impressions GROUP BY campaign_id
  UNION ALL
  SELECT campaign_id, 0, count(*), 0, sum(price_micros), NULL
  FROM clicks GROUP BY campaign_id
  UNION ALL
  SELECT campaign_id, 0, 0, count(*), NULL, sum(revenue_micros)
  FROM conversions GROUP BY campaign_id
  UNION ALL
  SELECT campaign_id, 0, 0, 0, CAST(NULL AS BIGINT), CAST(NULL AS BIGINT)
  FROM campaigns
),
totals AS (
  SELECT
    campaign_id,
    CAST(sum(impressions) AS BIGINT) AS impressions,
    CAST(sum(clicks) AS BIGINT) AS clicks,
    CAST(sum(conversions) AS BIGINT) AS conversions,
    coalesce(sum(spend_micros), 0) AS spend_micros,
    coalesce(sum(revenue_micros), 0) AS revenue_micros
  FROM facts
  GROUP BY campaign_id
)
SELECT
  totals.campaign_id,
  campaigns.name AS campaign_name,
  campaigns.advertiser_id,
  campaigns.currency,
  totals.impressions,
  totals.clicks,
  totals.conversions,
  totals.spend_micros,
  totals.revenue_micros,
  CAST(totals.clicks AS DOUBLE) / nullif(totals.impressions, 0) AS ctr,
  CAST(totals.conversions AS DOUBLE) / nullif(totals.clicks, 0) AS cvr,
  CAST(CAST(totals.spend_micros AS DECIMAL(30, 6)) * 1000 / nullif(totals.impressions, 0) AS DECIMAL(30, 6)) AS ecpm_micros,
  CAST(CAST(totals.spend_micros AS DECIMAL(30, 6)) / nullif(totals.conversions, 0) AS DECIMAL(30, 6)) AS cpa_micros
FROM totals
LEFT JOIN campaigns ON campaigns.campaign_id = totals.campaign_id;
