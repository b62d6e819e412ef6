#!lua
-- reserve: decide a batch of purchases, in arrival order, in one atomic step.
-- Closes the race between "is a unit free, is this shopper below the limit" and "take it": no other
-- command runs in between, and the write-ahead entry is written in the same step as the unit is taken.
--
-- KEYS
--   1 sale      hash           live settings and counters
--   2 shoppers  hash           shopper id -> "<order> <units> <slots> <stream id>" joined by ";"
--   3 returned  sorted set     free units below the counter `next`
--   4 pending   stream         write-ahead log of reservations
-- ARGV
--   1 epoch     integer        the epoch the caller read in the ledger
--   2 purchases JSON           a list of [order id, shopper id, quantity, guest, context, price_minor, currency]: order id
--                              without spaces or semicolons, at least 1 unit, guest true when the shopper gave no name,
--                              context a text that is kept with the pending entry for whoever writes the order; price
--                              of a unit (minor units) and currency as the shopper was shown them, each null or left out
--                              where it is not to be compared
-- RETURNS
--   {now in ms, version, answers}; one answer for each purchase, {status, units this shopper holds now, ...}:
--   {0 GRANTED, held, units, slots, price minor, currency, stream id}
--   {1 KNOWN, held, units, slots, stream id}    this order id already stands, whatever else holds
--   {2 NOT_READY, 0} {3 UNPUBLISHED, held} {4 NOT_STARTED, held} {5 ENDED, held} {6 PAUSED, held}
--   {7 GUESTS_REFUSED, held} {8 LIMIT_EXCEEDED, held}
--   {9 OUT_OF_STOCK, held, units left}
--   {10 PRICE_CHANGED, held, price minor, currency}    else it would have been granted, at this price
-- ERRORS
--   OOM before anything is done, when the server's memory is full

local GRANTED, KNOWN, NOT_READY, UNPUBLISHED, NOT_STARTED = 0, 1, 2, 3, 4
local ENDED, PAUSED, GUESTS_REFUSED, LIMIT_EXCEEDED, OUT_OF_STOCK, PRICE_CHANGED = 5, 6, 7, 8, 9, 10

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local at = string.format('%.0f', now)
local sale = redis.call('HMGET', KEYS[1], 'epoch', 'version', 'published', 'opens', 'closes', 'paused',
  'guests', 'limit', 'stock', 'next', 'issued', 'price', 'currency', 'brake')
local version, stock = tonumber(sale[2] or 0), tonumber(sale[9] or 0)
local limit = tonumber(sale[8] or 0)
local next_unit, issued = tonumber(sale[10] or 1), tonumber(sale[11] or 0)
local price_now, currency_now = tonumber(sale[12]), sale[13]

-- What holds for every purchase of this batch, whoever asks.
local closed = nil
if sale[1] ~= ARGV[1] then closed = NOT_READY
elseif sale[3] ~= '1' then closed = UNPUBLISHED
elseif now < tonumber(sale[4]) then closed = NOT_STARTED
elseif now >= tonumber(sale[5]) then closed = ENDED
elseif sale[6] == '1' or sale[14] then closed = PAUSED end

local function take_units(quantity)
  local units = {}
  for i = 1, quantity do
    local popped = redis.call('ZPOPMIN', KEYS[3])
    if popped[1] then
      units[i] = popped[1]
    else
      units[i] = string.format('%.0f', next_unit)
      next_unit = next_unit + 1
    end
  end
  return table.concat(units, ',')
end

local function free_slots(used, quantity)
  local slots, slot = {}, 1
  while #slots < quantity do
    if not used[slot] then slots[#slots + 1] = slot end
    slot = slot + 1
  end
  return table.concat(slots, ',')
end

-- What JSON has as null is no Lua value.
local function is_another_price(price_minor, currency)
  if type(price_minor) == 'number' and price_minor ~= price_now then return true end
  return type(currency) == 'string' and currency ~= currency_now
end

local function decide(order, shopper, quantity, guest, context, price_minor, currency)
  if closed == NOT_READY then return {NOT_READY, 0} end
  local record = redis.call('HGET', KEYS[2], shopper)
  local used, held, known = {}, 0, nil
  if record then
    for id, units, slots, entry in string.gmatch(record, '([^ ;]+) ([^ ;]+) ([^ ;]+) ([^ ;]+)') do
      if id == order then known = {units, slots, entry} end
      for slot in string.gmatch(slots, '%d+') do
        used[tonumber(slot)] = true
        held = held + 1
      end
    end
  end
  if known then return {KNOWN, held, unpack(known)} end
  if closed then return {closed, held} end
  if guest and sale[7] ~= '1' then return {GUESTS_REFUSED, held} end
  if held + quantity > limit then return {LIMIT_EXCEEDED, held} end
  if issued + quantity > stock then return {OUT_OF_STOCK, held, math.max(stock - issued, 0)} end
  if is_another_price(price_minor, currency) then return {PRICE_CHANGED, held, sale[12], currency_now} end

  local units, slots = take_units(quantity), free_slots(used, quantity)
  issued = issued + quantity
  local entry = redis.call('XADD', KEYS[4], '*', 'order', order, 'shopper', shopper, 'units', units,
    'slots', slots, 'epoch', sale[1], 'price', sale[12], 'currency', currency_now, 'at', at,
    'version', sale[2], 'context', context)
  local mine = order .. ' ' .. units .. ' ' .. slots .. ' ' .. entry
  redis.call('HSET', KEYS[2], shopper, record and (record .. ';' .. mine) or mine)
  return {GRANTED, held + quantity, units, slots, sale[12], currency_now, entry}
end

local answers, issued_before = {}, issued
for i, purchase in ipairs(cjson.decode(ARGV[2])) do
  answers[i] = decide(unpack(purchase))
end
if issued ~= issued_before then
  redis.call('HSET', KEYS[1], 'next', string.format('%.0f', next_unit), 'issued', string.format('%.0f', issued))
end
return {now, version, answers}
