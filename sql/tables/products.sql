-- What can be advertised? Top level of the catalog: a product has items (its variants), an item has vendor items (offers).
-- Rows are only added: a change is a new row with a later updated_at, and views take the newest row of each product_id.
CREATE TABLE products (
  product_id VARCHAR NOT NULL,
  -- When this state of the product became true; NULL = unknown, older than any known time.
  updated_at TIMESTAMP WITH TIME ZONE,
  name VARCHAR,
  brand VARCHAR,
  -- Path from the root, 'A > B > C'
  category VARCHAR,
  description VARCHAR,
  url VARCHAR,
  image_url VARCHAR
) WITH (sort_by = 'product_id');
