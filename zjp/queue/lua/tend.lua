-- use: clock level wake end reap due
-- ARGV: limit, lease ms, may reap. Reply: {promoted, reaped, next due or '-1', now, ended ids, count, bytes,
--       1 when there is something to sweep}
local now = clock()
local limit = tonumber(ARGV[1])
local ended, woken = {}, {}
local promoted = promote_due(now, limit, woken)
local reaped = reap(now, limit, tonumber(ARGV[2]), ARGV[3] == '1', ended)
for queue, jobs in pairs(woken) do
    wake(queue, jobs, 0)
end
tell(ended)
local held = call('HMGET', P .. 'n', 'o', 'b')
return {promoted, reaped, next_due(), now, ended, tonumber(held[1] or 0), tonumber(held[2] or 0),
    math.min(1, call('EXISTS', P .. 'sweeps', P .. 'sweep'))}
