-- ARGV: ids. Reply: how many there were
local P, call = KEYS[1], redis.call
local count = 0
for at = 1, #ARGV, 500 do
    local last = math.min(at + 499, #ARGV)
    count = count + call('HDEL', P .. 'r', unpack(ARGV, at, last))
    call('ZREM', P .. 'rows', unpack(ARGV, at, last))
    call('ZREM', P .. 'times', unpack(ARGV, at, last))
end
return count
