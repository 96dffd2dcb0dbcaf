-- Which mobile ads were clicked, and did the app get downloaded? TalkingData's sample, as published.
-- No event id exists (two rows are equal in every column and both count), so there is no event_key. Times are UTC.
CREATE TABLE talkingdata_clicks (
  ip BIGINT NOT NULL,
  app INT NOT NULL,
  device INT NOT NULL,
  os INT NOT NULL,
  channel INT NOT NULL,
  click_time TIMESTAMP WITH TIME ZONE NOT NULL,
  attributed_time TIMESTAMP WITH TIME ZONE,
  is_attributed INT NOT NULL,
  CHECK (is_attributed IN (0, 1)),
  CONSTRAINT attributed_has_time CHECK ((attributed_time IS NOT NULL) = (is_attributed = 1))
) WITH (event_time = 'click_time', partition_by = 'day(click_time)', sort_by = 'app, click_time');
