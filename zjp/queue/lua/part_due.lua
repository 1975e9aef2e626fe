-- Move one delayed job, already taken out of `d`, to the back of its level.
local function make_ready(id, value, now, woken)
    local level = level_of(value)
    local queue = sub(level, 2)
    call('RPUSH', P .. 'q:' .. level, id)
    ready_up(level, 1, now)
    call('HINCRBY', P .. 'n', (byte(value) == RETRYING and 't:' or 's:') .. queue, -1)
    woken[queue] = (woken[queue] or 0) + 1
end

-- Returns how many became ready. `woken`: queue -> jobs, to be hinted by the caller.
local function promote_due(now, limit, woken)
    local count = 0
    while count < limit do
        local due = call('ZRANGEBYSCORE', P .. 'd', '-inf', now, 'LIMIT', 0, math.min(limit - count, 500))
        if #due == 0 then
            break
        end
        call('ZREM', P .. 'd', unpack(due))
        local values = call('HMGET', P .. 'j', unpack(due))
        for at, id in ipairs(due) do
            local value = values[at]
            if value and byte(value) ~= FINISHED then
                make_ready(id, value, now, woken)
                count = count + 1
            end
        end
    end
    return count
end

local function next_due()
    local first = call('ZRANGE', P .. 'd', 0, 0, 'WITHSCORES')
    return first[2] or '-1'
end
