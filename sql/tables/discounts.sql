-- By how much is an offer reduced, and when?
-- Either percent (0 to 100) or amount (whole units of the offer's currency). Valid in [starts_at, ends_at), NULL = without
-- limit. A snapshot table: loading a row again, with the same discount_id, replaces it.
CREATE TABLE discounts (
  discount_id VARCHAR NOT NULL,
  vendor_item_id VARCHAR NOT NULL,
  -- When this state of the discount became true, if known
  updated_at TIMESTAMP WITH TIME ZONE,
  percent DECIMAL(5, 2),
  amount DECIMAL(18, 6),
  starts_at TIMESTAMP WITH TIME ZONE,
  ends_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT percent_or_amount CHECK ((percent IS NULL) <> (amount IS NULL)),
  CHECK (percent >= 0 AND percent <= 100),
  CHECK (amount >= 0)
) WITH (kind = 'snapshot', key = 'discount_id', sort_by = 'vendor_item_id, discount_id');
