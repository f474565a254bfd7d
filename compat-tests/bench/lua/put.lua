-- PUTs to keys that are there: 64 keys in turn, each time with another value. The URL is the directory of the keys.
dofile("report.lua")

local KEYS, VALUES = 64, 4
local requests, sent = {}, 0

function init(args)
  for seed = 0, KEYS * VALUES - 1 do
    requests[seed] = form("PUT", string.format("%s/%03d", wrk.path, seed % KEYS), seed)
  end
end

function request()
  sent = sent + 1
  return requests[sent % (KEYS * VALUES)]
end
