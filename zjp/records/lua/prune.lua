-- Remove up to `limit` records that finished before a time, those that came first. ARGV: before ms, limit. Reply: how many
local P, call = KEYS[1], redis.call
local limit = tonumber(ARGV[2])
local due = call('ZRANGEBYSCORE', P .. 'times', '-inf', '(' .. ARGV[1], 'LIMIT', 0, limit + 500)
local rows = {}
for at, id in ipairs(due) do
    rows[at] = {tonumber(call('ZSCORE', P .. 'rows', id)), id}
end
table.sort(rows, function(one, other) return one[1] < other[1] end)
local count = math.min(limit, #rows)
for at = 1, count do
    local id = rows[at][2]
    call('HDEL', P .. 'r', id)
    call('ZREM', P .. 'rows', id)
    call('ZREM', P .. 'times', id)
end
return count
