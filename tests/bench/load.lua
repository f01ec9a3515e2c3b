-- wrk script: sends the requests of a file in turn, and reports what it saw as one line.
--
-- Arguments: file of NUL-separated raw HTTP requests, first sequence number.

local MARK = "{sequence}"
local requests, turn, sequence = {}, 0, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for request in file:read("*a"):gmatch("[^%z]+") do
    local from, to = request:find(MARK, 1, true)
    if from then
      requests[#requests + 1] = { request:sub(1, from - 1), request:sub(to + 1) }
    else
      requests[#requests + 1] = { request }
    end
  end
  file:close()
  sequence = tonumber(args[2])
end

function request()
  turn = turn % #requests + 1
  local parts = requests[turn]
  if not parts[2] then
    return parts[1]
  end
  sequence = sequence + 1
  return parts[1] .. string.format("%012d", sequence) .. parts[2]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"microseconds":%d,"bytes":%d,"p50":%d,"p99":%d,"failed":%d,"refused":%d}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.timeout, e.status))
end
