-- ARGV: ids. Reply: how many there were
local P, call = KEYS[1], redis.call
local count = 0
for at = 1, #ARGV, 500 do
    count = count + call('HDEL', P .. 'r', unpack(ARGV, at, math.min(at + 499, #ARGV)))
end
if count > 0 then
    call('SET', P .. 'moved', 1) -- their ids still are in batches
end
return count
