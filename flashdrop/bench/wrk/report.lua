-- The end of a run, as one line of JSON for flashdrop/bench/wrk.py. Latencies in microseconds.
function done(summary, latency, requests)
  local parts = {}
  for _, share in ipairs({ 50, 75, 90, 95, 99, 99.9 }) do
    parts[#parts + 1] = string.format('"%s":%d', share, latency:percentile(share))
  end
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"duration_us":%d,"refused":%d,"broken":%d,"timeouts":%d,"latency_us":{%s}}\n',
    summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write, errors.timeout,
    table.concat(parts, ',')
  ))
end
