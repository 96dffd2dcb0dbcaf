-- In which variants (size, colour, pack) does a product come?
-- A snapshot table: loading a row again, with the same item_id, replaces it.
CREATE TABLE items (
  item_id VARCHAR NOT NULL,
  product_id VARCHAR NOT NULL,
  -- When this state of the item became true, if known
  updated_at TIMESTAMP WITH TIME ZONE,
  -- What tells it from the product's other items; NULL when there is only one.
  name VARCHAR,
  -- Universal product code, text: leading zeros count
  upc VARCHAR,
  model VARCHAR
) WITH (kind = 'snapshot', key = 'item_id', sort_by = 'product_id, item_id');
