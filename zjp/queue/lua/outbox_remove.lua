-- use: clock level
-- Forget finished jobs that the records have: by id and run, never by place, since several nodes may drain. What is not finished here stays:
-- it ran again, or the server that was told of its end has died before its replica knew.
-- ARGV: bytes of all, then (id, run (4), bytes)*; Reply: {count, bytes}
local given = (#ARGV - 1) / 3
local removed, removed_bytes = 0, 0
local is_plain = call('EXISTS', P .. 'again') == 0
for chunk = 0, given - 1, 500 do
    local ids = {}
    local size = math.min(500, given - chunk)
    for number = 1, size do
        ids[number] = ARGV[3 * (chunk + number) - 1]
    end
    local heads = call('LRANGE', P .. 'out', 0, size - 1)
    local is_prefix = is_plain and #heads == size and call('EXISTS', P .. 'lost') == 0
    for number = 1, is_prefix and size or 0 do
        if heads[number] ~= ids[number] then
            is_prefix = false
            break
        end
    end
    if is_prefix then -- nobody removed them before, and none was run again
        call('LTRIM', P .. 'out', size, -1)
        removed = removed + call('HDEL', P .. 'j', unpack(ids))
        for number = 1, size do
            removed_bytes = removed_bytes + tonumber(ARGV[3 * (chunk + number) + 1])
        end
    else
        local values = call('HMGET', P .. 'j', unpack(ids))
        local done = {}
        for number = 1, size do
            local id, value = ids[number], values[number]
            if value and not done[id] and byte(value) == FINISHED and sub(value, 2, 5) == ARGV[3 * (chunk + number)] then
                done[id] = true
                done[#done + 1] = id
                removed, removed_bytes = removed + 1, removed_bytes + #value - 5
            end
        end
        if #done > 0 then
            call('HDEL', P .. 'j', unpack(done))
            call('SREM', P .. 'again', unpack(done))
            call('HDEL', P .. 'lost', unpack(done))
        end
        while true do -- entries at the head whose job is gone, or live again
            local first = call('LRANGE', P .. 'out', 0, 99)
            local gone = 0
            for place, id in ipairs(first) do
                local value = is_plain and call('HEXISTS', P .. 'j', id) == 1 or call('HGET', P .. 'j', id)
                if value == true or (value and byte(value) == FINISHED) then
                    break
                end
                gone = place
            end
            if gone == 0 then
                break
            end
            call('LTRIM', P .. 'out', gone, -1)
        end
    end
end
return {call('HINCRBY', P .. 'n', 'o', 0 - removed), call('HINCRBY', P .. 'n', 'b', 0 - removed_bytes)}
