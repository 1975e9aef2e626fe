-- use: clock level
-- The oldest finished jobs. Entries whose job was removed, or is live again, are dropped as they come to the head.
-- ARGV: limit. Reply: {count, bytes, values (state, run, record), (place, losses)*}
local limit = tonumber(ARGV[1])
local values, seen, rare = {}, {}, {}
local has_losses = call('EXISTS', P .. 'lost') == 1
local has_twice = call('EXISTS', P .. 'again') == 1
local from = 0
while #values < limit do
    local ids = call('LRANGE', P .. 'out', from, from + math.min(limit - #values, 500) - 1)
    if #ids == 0 then
        break
    end
    local found = call('HMGET', P .. 'j', unpack(ids))
    local gone = 0
    for at, value in ipairs(found) do
        local is_there = value and byte(value) == FINISHED
        if is_there and not (has_twice and seen[ids[at]]) then
            values[#values + 1] = value
            local lost = has_losses and call('HGET', P .. 'lost', ids[at])
            if lost then
                rare[#rare + 1] = #values
                rare[#rare + 1] = lost
            end
            if has_twice then
                seen[ids[at]] = true
            end
        elseif not is_there and #values == 0 then
            gone = gone + 1
        end
    end
    if gone > 0 then
        call('LTRIM', P .. 'out', gone, -1)
    end
    from = from + #ids - gone
end
local held = call('HMGET', P .. 'n', 'o', 'b')
return {tonumber(held[1] or 0), tonumber(held[2] or 0), values, rare}
