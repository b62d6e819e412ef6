-- fence: stop a gate that is known to disagree with the ledger, until it is rebuilt.
-- Closes the race with a rebuild that has just finished: only the epoch found wrong is stopped.
--
-- KEYS
--   1 sale      hash           live settings and counters
-- ARGV
--   1 epoch     integer        the epoch found to be wrong
-- RETURNS
--   1 when this call stopped the gate, else 0
-- ERRORS
--   none of its own

if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
return redis.call('HDEL', KEYS[1], 'epoch')
