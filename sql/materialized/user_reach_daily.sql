-- How many users did each campaign reach per day, and how often did they see it?
-- day is the start of the day, UTC. Users do not add up over days or campaigns; their sketches do:
--   reach of a month     hll_estimate(hll_union(users)), within hll_lower(…) and hll_upper(…)
--   frequency            sum(user_impressions) / hll_estimate(hll_union(users))
--   users of two         theta_estimate(theta_intersect(a.audience, b.audience)); theta_difference for those of the first only
--   impressions          all, also those whose user is not known; user_impressions are those whose user is
-- Sketches are in the format of Apache DataSketches; users is the smaller one, audience the one that can be intersected.
CREATE MATERIALIZED VIEW user_reach_daily
WITH (refresh = 'continuous', partition_by = 'month(day)', sort_by = 'campaign_id, day')
AS
SELECT
  campaign_id,
  date_trunc('day', event_time) AS day,
  count(*) AS impressions,
  count(nullif(user_id, '')) AS user_impressions,
  hll_sketch(user_id) AS users,
  theta_sketch(user_id) AS audience
FROM impressions
GROUP BY campaign_id, date_trunc('day', event_time);
