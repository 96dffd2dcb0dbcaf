-- iPinYou's logs as events of the shipped schema. It has no campaigns: the advertiser stands for one, the creative for the ad.
-- pay_price is fen (0.01 RMB) per 1,000 impressions, so one impression costs pay_price * 10 micros of RMB.
-- Of an impression logged twice the earliest line counts, the cheaper one of equal times.
INSERT INTO impressions (event_id, event_time, ad_id, campaign_id, user_id, ip, price_micros)
SELECT bidid, log_time, creative, advertiser, ipinyou_id, ip, pay_price * 10
FROM ipinyou_impressions
QUALIFY row_number() OVER (PARTITION BY bidid ORDER BY log_time, pay_price, creative) = 1;

-- Clicks logged twice are dropped by event_key: one click per bid.
INSERT INTO clicks (event_id, event_time, impression_id, ad_id, campaign_id, user_id, ip, price_micros)
SELECT bidid, log_time, bidid AS impression_id, creative, advertiser, ipinyou_id, ip, pay_price * 10
FROM ipinyou_clicks;

-- A bid may convert several times; equal lines are one conversion.
INSERT INTO conversions (event_id, event_time, click_id, ad_id, campaign_id, user_id, ip)
SELECT concat(bidid, '@', log_time), log_time, bidid, creative, advertiser, ipinyou_id, ip
FROM ipinyou_conversions;
