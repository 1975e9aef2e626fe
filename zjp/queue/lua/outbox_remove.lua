-- use: clock level
-- Forget finished jobs that the records have: by id and run, never by place, since several nodes may drain.
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
    local is_prefix = is_plain and #heads == size
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
        for number = 1, size do
            local id, run = ids[number], ARGV[3 * (chunk + number)]
            local value = call('HGET', P .. 'j', id)
            if value and byte(value) == FINISHED and sub(value, 2, 5) == run then
                call('HDEL', P .. 'j', id)
                call('SREM', P .. 'again', id)
                removed, removed_bytes = removed + 1, removed_bytes + #value - 5
            end
        end
        local head = call('LINDEX', P .. 'out', 0)
        while head do -- what is left at the head and is no record any more
            local value = call('HGET', P .. 'j', head)
            if value and byte(value) == FINISHED then
                break
            end
            call('LPOP', P .. 'out')
            head = call('LINDEX', P .. 'out', 0)
        end
    end
end
return {call('HINCRBY', P .. 'n', 'o', 0 - removed), call('HINCRBY', P .. 'n', 'b', 0 - removed_bytes)}
