-- Which ads were shown, to whom, when, and what did each showing cost?
-- One row per impression. Any age of event is taken; add lateness='7 days' to WITH to reject older ones.
-- Times are UTC; price_micros is the cost of this one impression in millionths of the campaign's currency, NULL or 0 when
-- the campaign pays by click.
CREATE TABLE impressions (
  event_id VARCHAR NOT NULL,
  event_time TIMESTAMP WITH TIME ZONE NOT NULL,
  ad_id VARCHAR NOT NULL,
  campaign_id VARCHAR,
  user_id VARCHAR,
  ip VARCHAR,
  country VARCHAR,
  device VARCHAR,
  price_micros BIGINT,
  CHECK (price_micros >= 0)
) WITH (
  event_time = 'event_time',
  event_key = 'event_id',
  partition_by = 'day(event_time)',
  sort_by = 'ad_id, event_time'
);
