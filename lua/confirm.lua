#!lua flags=allow-oom
-- confirm: forget pending entries whose orders the ledger has acknowledged.
-- Closes no race by itself: deleting an entry twice is harmless, and an entry that is not deleted is
-- finished again by the worker, which is harmless too.
--
-- KEYS
--   1 pending   stream         write-ahead log of reservations
-- ARGV
--   one or more:
--   stream id   string         the entry of one confirmed order
-- RETURNS
--   integer: the entries deleted by this call
-- ERRORS
--   none of its own

return redis.call('XDEL', KEYS[1], unpack(ARGV))
