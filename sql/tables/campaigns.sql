-- Which campaigns are there, whose are they, and in which currency do they pay?
-- Rows are only added: a change is a new row with a later updated_at, and views take the newest row of each campaign_id.
CREATE TABLE campaigns (
  campaign_id VARCHAR NOT NULL,
  -- When this state of the campaign became true; NULL = unknown, older than any known time.
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
) WITH (sort_by = 'campaign_id');
