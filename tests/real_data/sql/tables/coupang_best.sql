-- What were the best sellers of each category, at which price, in each of seven snapshots?
-- item_id and vendor_item_id are missing on travel products. price_krw is whole won.
CREATE TABLE coupang_best (
  snapshot_time TIMESTAMP WITH TIME ZONE NOT NULL,
  category_code VARCHAR NOT NULL,
  category_name VARCHAR,
  rank INT NOT NULL,
  product_id VARCHAR NOT NULL,
  item_id VARCHAR,
  vendor_item_id VARCHAR,
  product_name VARCHAR,
  price_krw DECIMAL(18, 0) NOT NULL,
  CHECK (price_krw >= 0)
) WITH (sort_by = 'snapshot_time, category_code, rank');
