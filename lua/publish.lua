#!lua flags=allow-oom
-- publish: make a sale's settings the ones that hold from the next reservation on.
-- Closes the race between two publishers: only a newer version is taken. Closes the race between lowering
-- the stock and selling: it is never set below the highest unit that somebody holds. Closes the race with a
-- brake that is pulled meanwhile: only one that these settings know of is let go.
--
-- KEYS
--   1 sale      hash           live settings and counters
--   2 returned  sorted set     free units below the counter `next`
-- ARGV
--   1  create     0 or 1       1: a sale nobody can have bought from yet, load it empty
--   2  epoch      integer      the ledger's epoch of this sale
--   3  version    integer      the ledger's version of these settings
--   4  stock      integer      units
--   5  limit      integer      units per shopper
--   6  price      integer      minor units of the currency
--   7  currency   string       ISO 4217
--   8  opens      integer      ms since the epoch, first instant of the window
--   9  closes     integer      ms since the epoch, first instant after it
--   10 paused     0 or 1
--   11 guests     0 or 1       whether shoppers without a name may buy
--   12 published  0 or 1
--   13 run id     string       the run of the server that the caller talks to; kept when the sale is created
--   14 brake      string       the name of the newest brake that these settings know of; empty for none
-- RETURNS
--   {0 APPLIED, stock in force}           more than asked for when units above it are held
--   {1 SUPERSEDED, stock in force}        the gate already has this version or a newer one
--   {2 NOT_LOADED, 0}                     the gate has lost this sale, or has another epoch: rebuild it
-- ERRORS
--   none of its own

local APPLIED, SUPERSEDED, NOT_LOADED = 0, 1, 2

local sale = redis.call('HMGET', KEYS[1], 'epoch', 'version', 'stock', 'next', 'floor', 'brake')
local next_unit = tonumber(sale[4] or 1)
if not sale[1] and not sale[5] and ARGV[1] == '1' then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'next', '1', 'issued', '0', 'run_id', ARGV[13])
elseif sale[1] ~= ARGV[2] then
  return {NOT_LOADED, 0}
elseif tonumber(sale[2] or 0) >= tonumber(ARGV[3]) then
  return {SUPERSEDED, tonumber(sale[3] or 0)}
end

local stock = tonumber(ARGV[4])
-- Free units at the top were never needed: forget them, so that `next` - 1 is the highest unit held.
local top = redis.call('ZREVRANGE', KEYS[2], 0, 0)[1]
while top and tonumber(top) == next_unit - 1 do
  redis.call('ZREM', KEYS[2], top)
  next_unit = next_unit - 1
  top = redis.call('ZREVRANGE', KEYS[2], 0, 0)[1]
end
if stock < next_unit - 1 then stock = next_unit - 1 end

redis.call('HSET', KEYS[1], 'version', ARGV[3], 'stock', string.format('%.0f', stock), 'limit', ARGV[5],
  'price', ARGV[6], 'currency', ARGV[7], 'opens', ARGV[8], 'closes', ARGV[9], 'paused', ARGV[10],
  'guests', ARGV[11], 'published', ARGV[12], 'next', string.format('%.0f', next_unit), 'knows_brake', ARGV[14])
if sale[6] and string.match(sale[6], '^%S+') == ARGV[14] then redis.call('HDEL', KEYS[1], 'brake') end
return {APPLIED, stock}
