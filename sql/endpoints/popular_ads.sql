-- Which ads were clicked most in the last minutes?
-- The count (1 to 1000, default 100) most clicked ads of the last window minutes (1 to 1440, default 1), most clicked first,
-- equal ones by ad_id.
-- Filters: country, user_id, ip, device, as ?filter=country:KR&filter=device:mobile; several values of one column are OR,
-- different columns are AND.
CREATE ENDPOINT popular_ads (
  count BIGINT DEFAULT 100 CHECK (count BETWEEN 1 AND 1000),
  "window" BIGINT DEFAULT 1 CHECK ("window" BETWEEN 1 AND 1440)
) WITH (
  path = '/v1/ads/popular_ads',
  filters = 'country, user_id, ip, device',
  result = 'object'
) AS
-- adlake_filters() is replaced by the predicates of ?filter=…, with bound values, or by TRUE.
SELECT coalesce(array_agg(ad_id ORDER BY clicks DESC, ad_id), CAST(make_array() AS VARCHAR[])) AS ad_ids
FROM (
  SELECT ad_id, count(*) AS clicks
  FROM clicks
  WHERE event_time >= now() - CAST(concat($window, ' minutes') AS INTERVAL) AND event_time < now() AND adlake_filters()
  GROUP BY ad_id
  ORDER BY clicks DESC, ad_id
  LIMIT $count
) AS top;
