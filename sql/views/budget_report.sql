-- Does each campaign spend what was planned for it, hour by hour?
-- One row per campaign and hour that has a plan or spend; hour is its start, UTC. All micros are millionths of the campaign's
-- currency, exact. Hours without a plan have planned_micros NULL; remaining_micros is negative when more was spent than planned;
-- spent_ratio = spend / plan, NULL without a plan or with a plan of 0.
CREATE VIEW budget_report AS
WITH spend AS (
  SELECT campaign_id, hour, sum(spend_micros) AS spend_micros
  FROM (
    SELECT campaign_id, date_trunc('hour', event_time) AS hour, sum(price_micros) AS spend_micros
    FROM impressions GROUP BY campaign_id, date_trunc('hour', event_time)
    UNION ALL
    SELECT campaign_id, date_trunc('hour', event_time) AS hour, sum(price_micros) AS spend_micros
    FROM clicks GROUP BY campaign_id, date_trunc('hour', event_time)
  ) AS parts
  GROUP BY campaign_id, hour
),
plans AS (
  SELECT campaign_id, hour, planned_micros
  FROM budgets
  QUALIFY row_number() OVER (PARTITION BY campaign_id, hour ORDER BY updated_at DESC NULLS LAST, planned_micros) = 1
)
SELECT
  coalesce(plans.campaign_id, spend.campaign_id) AS campaign_id,
  coalesce(plans.hour, spend.hour) AS hour,
  plans.planned_micros,
  coalesce(spend.spend_micros, 0) AS spend_micros,
  plans.planned_micros - coalesce(spend.spend_micros, 0) AS remaining_micros,
  CAST(coalesce(spend.spend_micros, 0) AS DOUBLE) / nullif(plans.planned_micros, 0) AS spent_ratio
FROM plans
FULL OUTER JOIN spend ON spend.campaign_id = plans.campaign_id AND spend.hour = plans.hour;
