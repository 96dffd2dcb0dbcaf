-- How much may a campaign spend in each hour?
-- A snapshot table: loading a plan again, for the same campaign_id and hour, replaces it.
-- planned_micros is in millionths of the campaign's currency.
CREATE TABLE budgets (
  campaign_id VARCHAR NOT NULL,
  -- Start of the hour, UTC
  hour TIMESTAMP WITH TIME ZONE NOT NULL,
  planned_micros BIGINT NOT NULL,
  -- When this plan was made, if known
  updated_at TIMESTAMP WITH TIME ZONE,
  CHECK (planned_micros >= 0),
  CONSTRAINT hour_is_whole CHECK (date_trunc('hour', hour) = hour)
) WITH (kind = 'snapshot', key = 'campaign_id, hour', sort_by = 'campaign_id, hour');
