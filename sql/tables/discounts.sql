-- By how much is an offer reduced, and when?
-- Either percent (0 to 100) or amount (whole units of the offer's currency). Valid in [starts_at, ends_at), NULL = without
-- limit. Rows are only added: a change is a new row with a later updated_at, and views take the newest row of each discount_id.
CREATE TABLE discounts (
  discount_id VARCHAR NOT NULL,
  vendor_item_id VARCHAR NOT NULL,
  -- When this state of the discount became true; NULL = unknown, older than any known time.
  updated_at TIMESTAMP WITH TIME ZONE,
  percent DECIMAL(5, 2),
  amount DECIMAL(18, 6),
  starts_at TIMESTAMP WITH TIME ZONE,
  ends_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT percent_or_amount CHECK ((percent IS NULL) <> (amount IS NULL)),
  CHECK (percent >= 0 AND percent <= 100),
  CHECK (amount >= 0)
) WITH (sort_by = 'vendor_item_id, discount_id');
