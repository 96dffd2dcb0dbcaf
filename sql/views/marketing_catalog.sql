-- What can be sold now, at which price after discount? product ⋈ item ⋈ vendor item ⋈ discount.
-- One row per vendor item (offer) in its newest state. Of several discounts valid now the one that gives the lowest price
-- counts (discounts do not add up). Prices are whole units of currency, exact decimals: final_price = price less discount,
-- at least 0, rounded to six decimals; total_price = final_price + shipping.
CREATE VIEW marketing_catalog AS
WITH product AS (
  SELECT * FROM products
  QUALIFY row_number() OVER (PARTITION BY product_id ORDER BY updated_at DESC NULLS LAST, name) = 1
),
item AS (
  SELECT * FROM items
  QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY updated_at DESC NULLS LAST, product_id, name) = 1
),
offer AS (
  SELECT * FROM vendor_items
  QUALIFY row_number() OVER (PARTITION BY vendor_item_id ORDER BY updated_at DESC NULLS LAST, price, item_id) = 1
),
newest_discount AS (
  SELECT * FROM discounts
  QUALIFY row_number() OVER (PARTITION BY discount_id ORDER BY updated_at DESC NULLS LAST, percent, amount) = 1
),
reduced AS (
  SELECT
    offer.vendor_item_id,
    newest_discount.discount_id,
    CAST(greatest(
      CASE
        WHEN newest_discount.percent IS NOT NULL THEN CAST(offer.price * (100 - newest_discount.percent) * 0.01 AS DECIMAL(18, 6))
        ELSE CAST(offer.price - newest_discount.amount AS DECIMAL(18, 6))
      END,
      CAST(0 AS DECIMAL(18, 6))
    ) AS DECIMAL(18, 6)) AS reduced_price
  FROM offer
  JOIN newest_discount ON newest_discount.vendor_item_id = offer.vendor_item_id
  WHERE (newest_discount.starts_at IS NULL OR newest_discount.starts_at <= now())
    AND (newest_discount.ends_at IS NULL OR newest_discount.ends_at > now())
),
best_discount AS (
  SELECT * FROM reduced
  QUALIFY row_number() OVER (PARTITION BY vendor_item_id ORDER BY reduced_price, discount_id) = 1
)
SELECT
  product.product_id,
  product.name AS product_name,
  product.brand,
  product.category,
  product.description,
  product.url,
  product.image_url,
  item.item_id,
  item.name AS item_name,
  item.upc,
  item.model,
  offer.vendor_item_id,
  offer.vendor_id,
  offer.currency,
  offer.price,
  best_discount.discount_id,
  coalesce(best_discount.reduced_price, offer.price) AS final_price,
  coalesce(offer.shipping_price, CAST(0 AS DECIMAL(18, 6))) AS shipping_price,
  CAST(coalesce(best_discount.reduced_price, offer.price) + coalesce(offer.shipping_price, CAST(0 AS DECIMAL(18, 6)))
    AS DECIMAL(18, 6)) AS total_price,
  coalesce(offer.is_available, TRUE) AS is_available
FROM product
JOIN item ON item.product_id = product.product_id
JOIN offer ON offer.item_id = item.item_id
LEFT JOIN best_discount ON best_discount.vendor_item_id = offer.vendor_item_id;
