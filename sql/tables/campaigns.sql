-- Which campaigns are there, whose are they, and in which currency do they pay?
-- A snapshot table: loading a row again, with the same campaign_id, replaces it.
CREATE TABLE campaigns (
  campaign_id VARCHAR NOT NULL,
  -- When this state of the campaign became true, if known
  updated_at TIMESTAMP WITH TIME ZONE,
  name VARCHAR,
  advertiser_id VARCHAR,
  -- 'active', 'paused' or 'ended'
  status VARCHAR,
  -- ISO 4217, of all micros of this campaign
  currency VARCHAR,
  -- Runs in [starts_at, ends_at); NULL = without limit
  starts_at TIMESTAMP WITH TIME ZONE,
  ends_at TIMESTAMP WITH TIME ZONE
) WITH (kind = 'snapshot', key = 'campaign_id', sort_by = 'campaign_id');
