-- What can be sold now, at which price after discount? product ⋈ item ⋈ vendor item ⋈ discount.
-- One row per vendor item (offer). Of several discounts valid now the one that gives the lowest price
-- counts (discounts do not add up). Prices are whole units of currency, exact decimals: final_price = price less discount,
-- at least 0, rounded to six decimals; total_price = final_price + shipping.
CREATE VIEW marketing_catalog AS
WITH reduced AS (
  SELECT
    vendor_items.vendor_item_id,
    discounts.discount_id,
    CAST(greatest(
      CASE
        -- A decimal, not the literal 0.01, which would be floating point.
        WHEN discounts.percent IS NOT NULL
          THEN CAST(vendor_items.price * (100 - discounts.percent) * CAST('0.01' AS DECIMAL(2, 2)) AS DECIMAL(18, 6))
        ELSE CAST(vendor_items.price - discounts.amount AS DECIMAL(18, 6))
      END,
      CAST(0 AS DECIMAL(18, 6))
    ) AS DECIMAL(18, 6)) AS reduced_price
  FROM vendor_items
  JOIN discounts ON discounts.vendor_item_id = vendor_items.vendor_item_id
  WHERE (discounts.starts_at IS NULL OR discounts.starts_at <= now())
    AND (discounts.ends_at IS NULL OR discounts.ends_at > now())
),
best_discount AS (
  SELECT * FROM reduced
  QUALIFY row_number() OVER (PARTITION BY vendor_item_id ORDER BY reduced_price, discount_id) = 1
)
SELECT
  products.product_id,
  products.name AS product_name,
  products.brand,
  products.category,
  products.description,
  products.url,
  products.image_url,
  items.item_id,
  items.name AS item_name,
  items.upc,
  items.model,
  vendor_items.vendor_item_id,
  vendor_items.vendor_id,
  vendor_items.currency,
  vendor_items.price,
  best_discount.discount_id,
  coalesce(best_discount.reduced_price, vendor_items.price) AS final_price,
  coalesce(vendor_items.shipping_price, CAST(0 AS DECIMAL(18, 6))) AS shipping_price,
  CAST(coalesce(best_discount.reduced_price, vendor_items.price) + coalesce(vendor_items.shipping_price, CAST(0 AS DECIMAL(18, 6)))
    AS DECIMAL(18, 6)) AS total_price,
  coalesce(vendor_items.is_available, TRUE) AS is_available
FROM products
JOIN items ON items.product_id = products.product_id
JOIN vendor_items ON vendor_items.item_id = items.item_id
LEFT JOIN best_discount ON best_discount.vendor_item_id = vendor_items.vendor_item_id;
