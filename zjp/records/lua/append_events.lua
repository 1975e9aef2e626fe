-- Events in the order of their places; the oldest make room. Refused at `maxmemory`. ARGV: at most, (place and event)*
local P, call = KEYS[1], redis.call
for from = 2, #ARGV, 500 do
    local added = {}
    for at = from, math.min(from + 499, #ARGV) do
        added[#added + 1] = 0
        added[#added + 1] = ARGV[at]
    end
    call('ZADD', P .. 'events', unpack(added))
end
call('ZREMRANGEBYRANK', P .. 'events', 0, -1 - tonumber(ARGV[1]))
return 1
