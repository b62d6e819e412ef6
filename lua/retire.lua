#!lua flags=allow-oom
-- retire: let go of the gate of a sale that is long over and settled.
-- Closes the race with a publication, a rebuild or a reservation that came after the sale was archived: a gate of
-- another epoch, of a newer version, or with anything in its log is left alone. Leaves a floor behind for a while, as
-- a stopped gate has one, so that no empty gate is made and no rebuild that began earlier is loaded.
--
-- KEYS
--   1 sale      hash           live settings and counters
--   2 shoppers  hash           shopper id -> reservations
--   3 returned  sorted set     free units below the counter `next`
--   4 pending   stream         write-ahead log of reservations
-- ARGV
--   1 epoch     integer        the ledger's epoch of this sale
--   2 version   integer        the ledger's version of its settings
--   3 seconds   integer        how long the floor is kept
-- RETURNS
--   1 when nothing of the gate is left, else 0
-- ERRORS
--   none of its own

local sale = redis.call('HMGET', KEYS[1], 'epoch', 'version', 'floor')
if redis.call('XLEN', KEYS[4]) > 0 then return 0 end
if sale[1] and (sale[1] ~= ARGV[1] or tonumber(sale[2] or 0) > tonumber(ARGV[2])) then return 0 end
local floor = math.max(tonumber(sale[3] or 0), tonumber(ARGV[1]) + 1)
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('HSET', KEYS[1], 'floor', string.format('%.0f', floor))
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
