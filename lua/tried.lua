#!lua
-- tried: remember which shoppers tried to buy, for counting how many different ones there were.
-- Closes the race with a process that dies between the two commands: what never expires would stay for ever.
--
-- KEYS
--   1 tried     string         HyperLogLog of shopper ids
-- ARGV
--   1 shoppers  JSON           list of shopper ids, at most 1000
--   2 seconds   integer        how long it is kept from now on
-- RETURNS
--   1 when the count may have changed, else 0
-- ERRORS
--   none of its own

local changed = redis.call('PFADD', KEYS[1], unpack(cjson.decode(ARGV[1])))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return changed
