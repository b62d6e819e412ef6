#!lua
-- load: put a rebuilt gate in force.
-- Closes the race between two rebuilds, and with a gate that still sells: everything is swapped in one step,
-- only over a gate that was stopped, not below the floor that a later rebuild has left, and never over
-- entries of the log that nobody has settled. A brake that is pulled meanwhile stays.
--
-- KEYS
--   1 sale          hash        live settings and counters
--   2 shoppers      hash        shopper id -> reservations
--   3 returned      sorted set  free units below the counter `next`
--   4 pending       stream      write-ahead log of reservations
--   5 new shoppers  hash        built aside; missing when nobody holds anything
--   6 new returned  sorted set  built aside; missing when no unit is free below `next`
-- ARGV
--   1  epoch      integer      the new epoch, as raised in the ledger
--   2  next       integer      one above the highest unit held
--   3  issued     integer      units held
--   then the settings as publish takes them from its third argument on:
--   4  version    integer
--   5  stock      integer      units
--   6  limit      integer      units per shopper
--   7  price      integer      minor units of the currency
--   8  currency   string       ISO 4217
--   9  opens      integer      ms since the epoch
--   10 closes     integer      ms since the epoch
--   11 paused     0 or 1
--   12 guests     0 or 1
--   13 published  0 or 1
--   14 run id     string       the run of the server that the caller talks to
--   15 known      string       the name of the newest brake that these settings know of; empty for none
--   16 brake      string       the brake that the ledger has noted, as brake.lua writes it; empty for none
-- RETURNS
--   1 IN_FORCE, 0 SUPERSEDED (a gate sells, or a later rebuild has begun), -1 UNSETTLED (the log is not empty)
-- ERRORS
--   none of its own

local IN_FORCE, SUPERSEDED, UNSETTLED = 1, 0, -1

local sale = redis.call('HMGET', KEYS[1], 'epoch', 'floor', 'brake')
local outcome = IN_FORCE
-- Lowered while no gate could say what is held: never below the highest unit that is.
local stock = math.max(tonumber(ARGV[5]), tonumber(ARGV[2]) - 1)
if sale[1] or tonumber(sale[2] or 0) > tonumber(ARGV[1]) then outcome = SUPERSEDED
elseif redis.call('XLEN', KEYS[4]) > 0 then outcome = UNSETTLED end
if outcome ~= IN_FORCE then
  redis.call('DEL', KEYS[5], KEYS[6])
  return outcome
end
local brake = sale[3] or ARGV[16]
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
for i = 5, 6 do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    redis.call('RENAME', KEYS[i], KEYS[i - 3])
    redis.call('PERSIST', KEYS[i - 3])
  end
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'floor', ARGV[1], 'next', ARGV[2], 'issued', ARGV[3], 'version', ARGV[4],
  'stock', string.format('%.0f', stock), 'limit', ARGV[6], 'price', ARGV[7], 'currency', ARGV[8], 'opens', ARGV[9],
  'closes', ARGV[10], 'paused', ARGV[11], 'guests', ARGV[12], 'published', ARGV[13],
  'run_id', ARGV[14], 'knows_brake', ARGV[15])
if brake ~= '' and string.match(brake, '^%S+') ~= ARGV[15] then redis.call('HSET', KEYS[1], 'brake', brake) end
return IN_FORCE
