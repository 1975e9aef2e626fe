-- Some records below a row, newest first. ARGV: row (exclusive), how many. Reply: {rows, values}
local P, call = KEYS[1], redis.call
local found = call('ZREVRANGEBYSCORE', P .. 'rows', '(' .. ARGV[1], '-inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local ids, rows = {}, {}
for at = 1, #found, 2 do
    ids[#ids + 1] = found[at]
    rows[#rows + 1] = tonumber(found[at + 1])
end
return {rows, #ids > 0 and call('HMGET', P .. 'r', unpack(ids)) or {}}
