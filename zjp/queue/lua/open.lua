-- use: clock level wake end reap
-- Begin a life. Former lives of this node own nothing from here on: what they had claimed goes back at once.
-- A life of this name that still keeps its lease is not touched, whoever asks may ask again, when it is of
--   another home                                                                                      'held'
--   the same home, which has since begun as many lives as this one or more: one of the two is a copy  'copied'
--   the same home, at an address where nobody has looked yet: it is dead unless somebody listens there 'elsewhere'
-- ARGV: node, boot, lease ms, home, address, whether this repeats a call that may have been carried out, address where nobody listens,
--       started ids*
-- Reply: {boot, registration, lost jobs, suspects, count, bytes, version, now}
--        | {one of those words, ms until its lease ends, its address, when it last began or renewed}
local node, asked = ARGV[1], tonumber(ARGV[2])
local now = clock()
local latest = tonumber(call('HGET', P .. 'boots', node) or 0)
local home, address = string.match(call('HGET', P .. 'homes', node) or '\n', '^([^\n]*)\n(.*)$')
local function why_not()
    if home == '' then
        return nil
    elseif home ~= ARGV[4] then
        return 'held'
    elseif asked < latest or (asked == latest and ARGV[6] == '0') then
        return 'copied'
    end
    return asked > latest and address ~= ARGV[5] and address ~= ARGV[7] and 'elsewhere' or nil
end
local word = why_not()
if word then
    for _, other in ipairs(call('HKEYS', P .. 'lives')) do
        local lease = string.match(other, '^(.*):%d+$') == node and call('ZSCORE', P .. 'nodes', other)
        if lease and tonumber(lease) > now then
            return {word, tonumber(lease) - now, address, call('HGET', P .. 'seen', other) or ''}
        end
    end
end
call('HSET', P .. 'homes', node, ARGV[4] .. '\n' .. ARGV[5])
local boot = math.max(asked, latest + 1)
local life = node .. ':' .. boot
call('HSET', P .. 'boots', node, boot)
local started = {}
for at = 8, #ARGV do
    started[ARGV[at]] = true
end
local lost, suspects = 0, 0
local woken, ended = {}, {}
for _, former in ipairs(call('HKEYS', P .. 'lives')) do
    if string.match(former, '^(.*):%d+$') == node then
        local fences = call('HKEYS', P .. 'open:' .. former)
        for _, fence in ipairs(fences) do
            local claimed_ms = string.match(call('HGET', P .. 'claims', fence) or '', '^[^\n]*\n(%d+)') or '0'
            for _, id in ipairs(fence == 'last' and {} or call('SMEMBERS', P .. 'c:' .. fence)) do
                local value = call('HGET', P .. 'j', id)
                if value and byte(value) ~= FINISHED then
                    lost = lost + 1
                    local level = level_of(value)
                    local queue = sub(level, 2)
                    call('HINCRBY', P .. 'n', 'r:' .. queue, -1)
                    if started[id] then
                        suspects = suspects + 1
                        note_loss(id, fence, former, claimed_ms, now, 1)
                    end
                    if call('SISMEMBER', P .. 'cancelling', id) == 1 then
                        end_cancelled(id, value, now)
                        ended[#ended + 1] = id
                    else
                        give_back(id, level, now)
                        woken[queue] = (woken[queue] or 0) + 1
                    end
                end
            end
            call('DEL', P .. 'c:' .. fence)
            call('HDEL', P .. 'claims', fence)
        end
        call('DEL', P .. 'open:' .. former)
        lapse(former)
    end
end
for queue, jobs in pairs(woken) do -- others: this life may serve other queues than the former one did, or have less room
    wake(queue, jobs, 0)
end
tell(ended)
local registration = call('HINCRBY', P .. 'n', 'l', 1)
call('HSET', P .. 'lives', life, registration)
call('ZADD', P .. 'nodes', string.format('%.0f', now + tonumber(ARGV[3])), life)
call('HSET', P .. 'seen', life, now)
local held = call('HMGET', P .. 'n', 'v', 'o', 'b')
return {boot, tostring(registration), lost, suspects, tonumber(held[2] or 0), tonumber(held[3] or 0), tonumber(held[1] or 1), now}
