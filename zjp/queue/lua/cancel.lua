-- use: clock level wake end reap holders
-- ARGV: ids. Reply: {verdicts: w waiting and ended now, c claimed and marked, f finished, u unknown; ended ids, count, bytes}
local now = clock()
local verdicts, ended = {}, {}
-- Which claim holds each of them, and which lapsed one held it: looked for once, when it must be known of the first. Nothing here puts an id
-- into a claim.
local claimed, lapsed
local claimants = {}
local left = {} -- level -> entries that stay in its list

local function holders(kind, fences)
    local sought = {}
    for _, id in ipairs(ARGV) do
        sought[id] = true
    end
    return find_holders(sought, kind, fences)
end

local function withdraw(id, value)
    local level = level_of(value)
    local queue = sub(level, 2)
    claimed = claimed or holders('c:', call('HKEYS', P .. 'claims'))
    if claimed[id] then
        return 'c'
    end
    if call('ZREM', P .. 'd', id) == 1 then
        call('HINCRBY', P .. 'n', (byte(value) == RETRYING and 't:' or 's:') .. queue, -1)
        return 'w'
    end
    lapsed = lapsed or holders('l:', call('LRANGE', P .. 'lapsed', 0, -1))
    local fence = lapsed[id]
    if fence then
        call('SREM', P .. 'l:' .. fence, id)
        call('HINCRBY', P .. 'n', 'r:' .. queue, -1)
        claimants[fence] = claimants[fence] or {claimant(fence)}
        local life, claimed_ms = unpack(claimants[fence])
        note_loss(id, fence, life, claimed_ms, now, 0)
        return 'w'
    end
    if call('ZREM', P .. 'back:' .. level, id) == 0 then
        call('HINCRBY', P .. 'stale', id, 1) -- its entry in the list is dropped when it comes up, or a sweep comes to it
        left[level] = (left[level] or 0) + 1
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
for level, entries in pairs(left) do
    call('HINCRBY', P .. 'sweeps', level, entries)
end
tell(ended)
local held = call('HMGET', P .. 'n', 'o', 'b')
return {verdicts, ended, tonumber(held[1] or 0), tonumber(held[2] or 0)}
