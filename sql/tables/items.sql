-- In which variants (size, colour, pack) does a product come?
-- Rows are only added: a change is a new row with a later updated_at, and views take the newest row of each item_id.
CREATE TABLE items (
  item_id VARCHAR NOT NULL,
  product_id VARCHAR NOT NULL,
  -- When this state of the item became true; NULL = unknown, older than any known time.
  updated_at TIMESTAMP WITH TIME ZONE,
  -- What tells it from the product's other items; NULL when there is only one.
  name VARCHAR,
  -- Universal product code, text: leading zeros count
  upc VARCHAR,
  model VARCHAR
) WITH (sort_by = 'product_id, item_id');
