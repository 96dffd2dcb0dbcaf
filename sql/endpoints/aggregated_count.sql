-- How many clicks did one ad get between two times?
-- Counts clicks with from <= time < to; without them, the last minute. Filters: country, user_id, ip, device, as
-- ?filter=country:KR&filter=device:mobile; several values of one column are OR, different columns are AND.
CREATE ENDPOINT aggregated_count (
  ad_id VARCHAR,
  "from" TIMESTAMP WITH TIME ZONE DEFAULT now() - INTERVAL '1 minute',
  "to" TIMESTAMP WITH TIME ZONE DEFAULT now()
) WITH (
  path = '/v1/ads/{ad_id}/aggregated_count',
  filters = 'country, user_id, ip, device',
  result = 'object'
) AS
-- adlake_filters() is replaced by the predicates of ?filter=…, with bound values, or by TRUE.
SELECT CAST($ad_id AS VARCHAR) AS ad_id, count(*) AS count
FROM clicks
WHERE ad_id = $ad_id AND event_time >= $from AND event_time < $to AND adlake_filters();
