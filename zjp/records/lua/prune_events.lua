-- Remove up to `limit` of the oldest events below a place. ARGV: place, limit. Reply: how many
local P, call = KEYS[1], redis.call
local count = 0
local limit = tonumber(ARGV[2])
while count < limit do
    local due = call('ZRANGEBYLEX', P .. 'events', '-', '(' .. ARGV[1], 'LIMIT', 0, math.min(limit - count, 500))
    if #due == 0 then
        break
    end
    count = count + call('ZREM', P .. 'events', unpack(due))
end
return count
