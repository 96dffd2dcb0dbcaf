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
)
SELECT
  coalesce(budgets.campaign_id, spend.campaign_id) AS campaign_id,
  coalesce(budgets.hour, spend.hour) AS hour,
  budgets.planned_micros,
  coalesce(spend.spend_micros, 0) AS spend_micros,
  budgets.planned_micros - coalesce(spend.spend_micros, 0) AS remaining_micros,
  CAST(coalesce(spend.spend_micros, 0) AS DOUBLE) / nullif(budgets.planned_micros, 0) AS spent_ratio
FROM budgets
FULL OUTER JOIN spend ON spend.campaign_id = budgets.campaign_id AND spend.hour = budgets.hour;
