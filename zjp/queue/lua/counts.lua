-- use: clock level
-- Reply: {now, (queue, paused, scheduled, retrying, running, (pending, value of the oldest or '')*)*}
local queues = call('SMEMBERS', P .. 'queues')
table.sort(queues)
local ready = call('HGETALL', P .. 'ready')
local pending = {}
for at = 1, #ready, 2 do
    local name = sub(ready[at], 2)
    pending[name] = pending[name] or {}
    pending[name][#pending[name] + 1] = ready[at]
    pending[name][#pending[name] + 1] = tonumber(ready[at + 1])
end

local function head(level)
    local first = call('ZRANGE', P .. 'back:' .. level, 0, 0)[1]
    if first then
        return call('HGET', P .. 'j', first) or ''
    end
    local ids = call('LRANGE', P .. 'q:' .. level, 0, 99)
    for _, id in ipairs(ids) do
        if id ~= '' and not call('HGET', P .. 'stale', id) then
            local value = call('HGET', P .. 'j', id)
            return value and byte(value) ~= FINISHED and value or ''
        end
    end
    return ''
end

local reply = {clock()}
for _, name in ipairs(queues) do
    local counted = call('HMGET', P .. 'n', 's:' .. name, 't:' .. name, 'r:' .. name)
    local levels = {}
    for at = 1, #(pending[name] or {}), 2 do
        levels[#levels + 1] = pending[name][at + 1]
        levels[#levels + 1] = head(pending[name][at])
    end
    reply[#reply + 1] = {name, call('SISMEMBER', P .. 'paused', name), tonumber(counted[1] or 0), tonumber(counted[2] or 0),
        tonumber(counted[3] or 0), levels}
end
return reply
