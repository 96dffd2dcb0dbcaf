-- How much may a campaign spend in each hour?
-- One row per campaign and hour; a changed plan is a new row with a later updated_at, and views take the newest.
-- planned_micros is in millionths of the campaign's currency.
CREATE TABLE budgets (
  campaign_id VARCHAR NOT NULL,
  -- Start of the hour, UTC
  hour TIMESTAMP WITH TIME ZONE NOT NULL,
  planned_micros BIGINT NOT NULL,
  -- When this plan was made; NULL = unknown, older than any known time.
  updated_at TIMESTAMP WITH TIME ZONE,
  CHECK (planned_micros >= 0),
  CONSTRAINT hour_is_whole CHECK (date_trunc('hour', hour) = hour)
) WITH (sort_by = 'campaign_id, hour');
