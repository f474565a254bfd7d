-- What every wrk script here shares: values of 200 bytes, and the report of a run as one line of JSON.
-- wrk runs in this directory, so that the others can say dofile("report.lua").

function value(seed)
  local head = string.format("%016d", seed)
  return head .. string.rep("v", 200 - #head)
end

-- A whole request that carries value=... as etcd's clients send it.
function form(method, path, seed)
  local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
  return wrk.format(method, path, headers, "value=" .. value(seed))
end

function done(summary, latency)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    'RESULT {"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status, broken))
end
