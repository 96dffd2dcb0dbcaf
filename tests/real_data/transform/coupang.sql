-- Coupang's best sellers as products, items and vendor items: the newest state of each, in whole won.
INSERT INTO products (product_id, updated_at, name, category)
SELECT product_id, snapshot_time, product_name, category_name
FROM coupang_best
QUALIFY row_number() OVER (PARTITION BY product_id ORDER BY snapshot_time DESC, category_code, rank) = 1;

INSERT INTO items (item_id, product_id, updated_at)
SELECT item_id, product_id, snapshot_time
FROM coupang_best
WHERE item_id IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY snapshot_time DESC, category_code, rank) = 1;

INSERT INTO vendor_items (vendor_item_id, item_id, updated_at, price, currency)
SELECT vendor_item_id, item_id, snapshot_time, price_krw, 'KRW'
FROM coupang_best
WHERE vendor_item_id IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY vendor_item_id ORDER BY snapshot_time DESC, category_code, rank) = 1;
