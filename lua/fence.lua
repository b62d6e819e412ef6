#!lua flags=allow-oom
-- fence: stop a gate of this epoch or an older one, until it is rebuilt under a newer one.
-- Closes the race with a rebuild that has just finished (a newer gate is left alone), and with one that began
-- earlier and is still reading (its gate is below the floor that is left behind, and is not loaded).
--
-- KEYS
--   1 sale      hash           live settings and counters
-- ARGV
--   1 epoch     integer        the newest epoch that must not sell any more
-- RETURNS
--   1 when this call stopped the gate, else 0
-- ERRORS
--   none of its own

local sale = redis.call('HMGET', KEYS[1], 'epoch', 'floor')
if tonumber(sale[2] or 0) <= tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'floor', string.format('%.0f', tonumber(ARGV[1]) + 1))
end
if not sale[1] or tonumber(sale[1]) > tonumber(ARGV[1]) then return 0 end
return redis.call('HDEL', KEYS[1], 'epoch')
