-- A purchase by a new shopper with each request. Arguments: file of signed cookies, path, content type, body.
local cookies, place, path, body = {}, 0, '', ''
local headers = {}

function init(args)
  for line in io.lines(args[1]) do cookies[#cookies + 1] = line end
  path, headers['Content-Type'], body = args[2], args[3], args[4]
  if args[5] then headers['HX-Request'] = 'true' end
end

function request()
  place = place % #cookies + 1
  headers['Cookie'] = cookies[place]
  return wrk.format('POST', path, headers, body)
end
