#!lua flags=no-writes
-- held: count the units that are taken, and those of them whose orders are still in the log.
-- Closes the race between the two counts: both are of the same instant.
--
-- KEYS
--   1 sale      hash           live settings and counters
--   2 pending   stream         write-ahead log of reservations
-- ARGV
--   1 at most   integer        entries of the log that may be counted, to keep others waiting no longer
-- RETURNS
--   {units issued, units pending}; {-1, 0} when the sale is not loaded or its log is longer than that
-- ERRORS
--   none of its own

local sale = redis.call('HMGET', KEYS[1], 'epoch', 'issued')
if not sale[1] or redis.call('XLEN', KEYS[2]) > tonumber(ARGV[1]) then return {-1, 0} end
local pending = 0
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+')) do
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'units' then
      local _, commas = string.gsub(entry[2][i + 1], ',', '')
      pending = pending + commas + 1
    end
  end
end
return {tonumber(sale[2]), pending}
