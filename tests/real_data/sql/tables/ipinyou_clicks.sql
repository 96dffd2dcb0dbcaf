-- Which clicks did iPinYou log? One row per line of the log (a bidid may come twice).
-- bid_price, pay_price and slot_price: RMB fen per 1,000 impressions. The log's China time is loaded as UTC.
CREATE TABLE ipinyou_clicks (
  bidid VARCHAR NOT NULL,
  log_time TIMESTAMP WITH TIME ZONE NOT NULL,
  log_type INT,
  ipinyou_id VARCHAR,
  user_agent VARCHAR,
  ip VARCHAR,
  region INT,
  city INT,
  ad_exchange INT,
  domain VARCHAR,
  url VARCHAR,
  url_id VARCHAR,
  slot_id VARCHAR,
  slot_width INT,
  slot_height INT,
  slot_visibility VARCHAR,
  slot_format VARCHAR,
  slot_price BIGINT,
  creative VARCHAR,
  bid_price BIGINT,
  pay_price BIGINT,
  key_page VARCHAR,
  advertiser VARCHAR,
  user_tags VARCHAR,
  CHECK (pay_price >= 0)
) WITH (event_time = 'log_time', partition_by = 'day(log_time)', sort_by = 'advertiser, log_time');
