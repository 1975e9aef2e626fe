-- use: clock level wake end
-- ARGV: ids. Reply: {verdicts: w waiting and ended now, c claimed and marked, f finished, u unknown; ended ids, count, bytes}
local now = clock()
local verdicts, ended = {}, {}
local fences = call('HKEYS', P .. 'claims')

local function withdraw(id, value)
    local level = level_of(value)
    local queue = sub(level, 2)
    for _, fence in ipairs(fences) do
        if call('SISMEMBER', P .. 'c:' .. fence, id) == 1 then
            return 'c'
        end
    end
    if call('ZREM', P .. 'd', id) == 1 then
        call('HINCRBY', P .. 'n', (byte(value) == RETRYING and 't:' or 's:') .. queue, -1)
        return 'w'
    end
    for _, fence in ipairs(call('LRANGE', P .. 'lapsed', 0, -1)) do
        if call('SREM', P .. 'l:' .. fence, id) == 1 then
            call('HINCRBY', P .. 'n', 'r:' .. queue, -1)
            return 'w'
        end
    end
    if call('ZREM', P .. 'back:' .. level, id) == 0 then
        call('HINCRBY', P .. 'stale', id, 1) -- its entry in the list is dropped when it comes up
    end
    ready_down(level, 1)
    return 'w'
end

for at, id in ipairs(ARGV) do
    local value = call('HGET', P .. 'j', id)
    if not value then
        verdicts[at] = 'u'
    elseif byte(value) == FINISHED then
        verdicts[at] = 'f'
    else
        verdicts[at] = withdraw(id, value)
        if verdicts[at] == 'c' then
            call('SADD', P .. 'cancelling', id)
        else
            end_cancelled(id, value, now)
            ended[#ended + 1] = id
        end
    end
end
tell(ended)
local held = call('HMGET', P .. 'n', 'o', 'b')
return {verdicts, ended, tonumber(held[1] or 0), tonumber(held[2] or 0)}
