-- wrk -s check.lua URL -- [EXPECTED [BODY]]
-- Compares each answer with the content of the file EXPECTED, and prints what came out as one line of JSON. With BODY, it
-- is posted. Without EXPECTED, answers are only counted.
-- What begins with ~ has to be part of the answer, any other one the whole of it.
local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

function init(args)
    wrong = 0
    if not args[1] then
        response = nil
        return
    end
    local file = assert(io.open(args[1], "rb"))
    expected = file:read("*a")
    file:close()
    part = expected:sub(1, 1) == "~"
    if part then expected = expected:sub(2) end
    if args[2] then
        wrk.method, wrk.body = "POST", args[2]
        wrk.headers["Content-Type"] = "application/json"
    end
end

function response(status, headers, body)
    if status < 300 and body ~= expected and not (part and body:find(expected, 1, true)) then
        wrong = wrong + 1
    end
end

function done(summary, latency, requests)
    local all = 0
    for _, thread in ipairs(threads) do all = all + thread:get("wrong") end
    local errors = summary.errors
    io.write(string.format(
        '\nRESULT {"requests": %d, "seconds": %.6f, "wrong": %d, "failed": %d, "timeouts": %d, "bytes": %d, ' ..
        '"p50": %.3f, "p99": %.3f}\n',
        summary.requests, summary.duration / 1e6, all, errors.connect + errors.read + errors.write + errors.status,
        errors.timeout, summary.bytes, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
    ))
end
