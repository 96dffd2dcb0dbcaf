-- Which clicks led to a sale (or download, or sign-up), and what was it worth?
-- One row per conversion. Times are UTC; revenue_micros is what the customer paid, in millionths of the campaign's currency,
-- NULL when the conversion has no price. It is income of the advertiser, not cost of the ad.
CREATE TABLE conversions (
  event_id VARCHAR NOT NULL,
  event_time TIMESTAMP WITH TIME ZONE NOT NULL,
  -- The click it is attributed to, when known.
  click_id VARCHAR,
  ad_id VARCHAR NOT NULL,
  campaign_id VARCHAR,
  user_id VARCHAR,
  ip VARCHAR,
  country VARCHAR,
  device VARCHAR,
  product_id VARCHAR,
  revenue_micros BIGINT,
  CHECK (revenue_micros >= 0)
) WITH (
  event_time = 'event_time',
  event_key = 'event_id',
  partition_by = 'day(event_time)',
  sort_by = 'ad_id, event_time'
);
