#!lua flags=allow-oom
-- release: give up reservations and put their units back on sale.
-- Closes the race with a second release, or with a unit already sold to somebody else: a reservation is
-- found by shopper and order id, so what is no longer held is left alone and running it twice is harmless.
--
-- KEYS
--   1 sale      hash           live settings and counters
--   2 shoppers  hash           shopper id -> reservations
--   3 returned  sorted set     free units below the counter `next`
--   4 pending   stream         write-ahead log of reservations
-- ARGV
--   two for each reservation:
--   shopper id  string
--   order id    string
-- RETURNS
--   one integer for each reservation: the units given back, 0 when it was not held
-- ERRORS
--   none of its own

local function release(shopper, order)
  local record = redis.call('HGET', KEYS[2], shopper)
  if not record then return 0 end
  local kept, given_back = {}, 0
  for id, units, slots, entry in string.gmatch(record, '([^ ;]+) ([^ ;]+) ([^ ;]+) ([^ ;]+)') do
    if id == order then
      for unit in string.gmatch(units, '%d+') do
        redis.call('ZADD', KEYS[3], unit, unit)
        given_back = given_back + 1
      end
      redis.call('XDEL', KEYS[4], entry)
    else
      kept[#kept + 1] = id .. ' ' .. units .. ' ' .. slots .. ' ' .. entry
    end
  end
  if given_back == 0 then return 0 end
  if #kept > 0 then
    redis.call('HSET', KEYS[2], shopper, table.concat(kept, ';'))
  else
    redis.call('HDEL', KEYS[2], shopper)
  end
  redis.call('HINCRBY', KEYS[1], 'issued', -given_back)
  return given_back
end

local answers = {}
for i = 1, #ARGV, 2 do
  answers[#answers + 1] = release(ARGV[i], ARGV[i + 1])
end
return answers
