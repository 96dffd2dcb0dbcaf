-- Partner feed: which offer of each product is the cheapest that can be had now?
-- One row per product with at least one available vendor item and per currency (prices of different currencies cannot be
-- compared). Cheapest by final_price (after discount), then by total_price (with shipping), then by vendor_item_id, so the
-- same data always gives the same feed. Prices are whole units of currency, exact decimals.
CREATE VIEW partner_feed_cheapest_offer AS
SELECT
  product_id AS id,
  product_name AS title,
  description,
  brand,
  category,
  url AS link,
  image_url AS image_link,
  upc AS gtin,
  item_id,
  vendor_item_id,
  vendor_id,
  currency,
  price AS list_price,
  final_price AS sale_price,
  shipping_price
FROM marketing_catalog
WHERE is_available
QUALIFY row_number() OVER (PARTITION BY product_id, currency ORDER BY final_price, total_price, vendor_item_id) = 1;
