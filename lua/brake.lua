#!lua flags=allow-oom
-- brake: stop a sale at once, until settings are published that know of it.
-- Closes the race with a publication under way: settings that were saved without knowing of this brake don't
-- let it go. Pulled again under its name, it changes nothing, and stays let go once it was. Pulled anew, it takes the
-- place of an earlier one, which settings that are saved and wait for the ledger may know of.
--
-- KEYS
--   1 sale      hash           live settings and counters
-- ARGV
--   1 name      string         tells this brake from every other one; without spaces
--   2 by        string         who pulls it
--   3 pulled    integer        ms since the epoch, of one that was lost; 0: now
-- RETURNS
--   "<name> <pulled> <by>" of the brake that holds, which may be another one; empty when settings that know
--   of this one are in force
-- ERRORS
--   none of its own

local sale = redis.call('HMGET', KEYS[1], 'brake', 'knows_brake')
local pulled = tonumber(ARGV[3])
local holds = sale[1] and string.match(sale[1], '^%S+')
if holds and (pulled > 0 or holds == ARGV[1]) then return sale[1] end
if sale[2] == ARGV[1] then return sale[1] or '' end
if pulled == 0 then
  local time = redis.call('TIME')
  pulled = time[1] * 1000 + math.floor(time[2] / 1000)
end
local brake = ARGV[1] .. ' ' .. string.format('%.0f', pulled) .. ' ' .. ARGV[2]
redis.call('HSET', KEYS[1], 'brake', brake)
return brake
