-- Which products does Flipkart's sample have, at which list and selling price?
-- Prices are whole rupees, missing on 30 rows. Ratings are text: 'No rating available' on most.
CREATE TABLE flipkart_products (
  uniq_id VARCHAR NOT NULL,
  product_name VARCHAR,
  pid VARCHAR NOT NULL,
  retail_price DECIMAL(18, 2),
  discounted_price DECIMAL(18, 2),
  is_fk_advantage_product VARCHAR,
  product_rating VARCHAR,
  overall_rating VARCHAR,
  brand VARCHAR,
  product_category_tree VARCHAR
) WITH (kind = 'snapshot', key = 'uniq_id', sort_by = 'pid');
