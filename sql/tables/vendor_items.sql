-- Who sells an item, for how much, and can it be had now?
-- A snapshot table: loading a row again, with the same vendor_item_id, replaces it.
-- price and shipping_price are in whole units of currency (19.99), exact decimals.
CREATE TABLE vendor_items (
  vendor_item_id VARCHAR NOT NULL,
  item_id VARCHAR NOT NULL,
  -- When this state of the offer became true, if known
  updated_at TIMESTAMP WITH TIME ZONE,
  vendor_id VARCHAR,
  price DECIMAL(18, 6) NOT NULL,
  -- NULL = not known, taken as 0
  shipping_price DECIMAL(18, 6),
  -- ISO 4217
  currency VARCHAR,
  -- NULL = the source does not say, taken as available
  is_available BOOLEAN,
  CHECK (price >= 0),
  CHECK (shipping_price >= 0)
) WITH (kind = 'snapshot', key = 'vendor_item_id', sort_by = 'item_id, vendor_item_id');
