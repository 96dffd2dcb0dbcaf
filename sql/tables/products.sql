-- What can be advertised? Top level of the catalog: a product has items (its variants), an item has vendor items (offers).
-- A snapshot table: loading a row again, with the same product_id, replaces it.
CREATE TABLE products (
  product_id VARCHAR NOT NULL,
  -- When this state of the product became true, if known
  updated_at TIMESTAMP WITH TIME ZONE,
  name VARCHAR,
  brand VARCHAR,
  -- Path from the root, 'A > B > C'
  category VARCHAR,
  description VARCHAR,
  url VARCHAR,
  image_url VARCHAR
) WITH (kind = 'snapshot', key = 'product_id', sort_by = 'product_id');
