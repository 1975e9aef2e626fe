-- use: clock level wake end later
-- One bounded step: end jobs of one queue that wait.
-- ARGV: queue, 'begin' | 'ready' | 'later', limit, count max, bytes max; later: due time and id of the last one seen
-- Reply: begin: {known, ready, version}; else {ended, is over, count, bytes, ids}, and of later what to go on behind: due time, id;
--        {-1}: there is a job to end, and no room for its record
local queue, limit = ARGV[1], tonumber(ARGV[3])
local now = clock()
local ended = {}
local function room()
    local held = call('HMGET', P .. 'n', 'o', 'b')
    return tonumber(ARGV[4]) - tonumber(held[1] or 0), tonumber(held[2] or 0) < tonumber(ARGV[5])
end
local function reply(is_over, due, last)
    tell(ended)
    local held = call('HMGET', P .. 'n', 'o', 'b')
    return {#ended, is_over, tonumber(held[1] or 0), tonumber(held[2] or 0), ended, due, last}
end

local function count_ready()
    local ready = 0
    for priority = 10, 1, -1 do
        ready = ready + tonumber(call('HGET', P .. 'ready', string.char(priority) .. queue) or 0)
    end
    return ready
end

if ARGV[2] == 'begin' then
    local ready = count_ready()
    if ready == 0 and call('SISMEMBER', P .. 'queues', queue) == 0 then
        return {0, 0, 0}
    end
    if call('HEXISTS', P .. 'n', 'v') == 0 then
        call('HSET', P .. 'n', 'v', 1)
    end
    return {1, ready, call('HINCRBY', P .. 'n', 'v', 1)}
end

local free, has_bytes = room()
if not has_bytes then
    free = math.min(0, free)
end

local function end_ready(id, level)
    local value = call('HGET', P .. 'j', id)
    if value and byte(value) ~= FINISHED then
        end_cancelled(id, value, now)
        ended[#ended + 1] = id
        ready_down(level, 1)
    end
end

if ARGV[2] == 'ready' then
    if free <= 0 then
        return count_ready() > 0 and {-1} or reply(1)
    end
    limit = math.min(limit, free)
    for priority = 10, 1, -1 do
        local level = string.char(priority) .. queue
        while #ended < limit do
            local popped = call('ZPOPMIN', P .. 'back:' .. level, math.min(limit - #ended, 500))
            for at = 1, #popped, 2 do
                end_ready(popped[at], level)
            end
            local ids = #ended < limit and call('LPOP', P .. 'q:' .. level, math.min(limit - #ended, 500)) or {}
            if #ids > 0 then
                call('HINCRBY', P .. 'heads', level, #ids)
            end
            for _, id in ipairs(ids) do
                if not call('HGET', P .. 'stale', id) then
                    end_ready(id, level)
                elseif call('HINCRBY', P .. 'stale', id, -1) <= 0 then
                    call('HDEL', P .. 'stale', id)
                    call('HDEL', P .. 'seats', id)
                end
            end
            if #popped == 0 and #ids == 0 then
                break
            end
        end
    end
    return reply(#ended < limit and 1 or 0)
end

local due, last = ARGV[6], ARGV[7]
local from = rank_behind(tonumber(due), last)
local rows = call('ZRANGE', P .. 'd', from, from + limit - 1, 'WITHSCORES')
for at = 1, #rows, 2 do
    local id = rows[at]
    local value = call('HGET', P .. 'j', id)
    if value and sub(level_of(value), 2) == queue then
        if #ended >= free then
            return at == 1 and {-1} or reply(0, due, last)
        end
        call('ZREM', P .. 'd', id)
        call('HINCRBY', P .. 'n', (byte(value) == RETRYING and 't:' or 's:') .. queue, -1)
        end_cancelled(id, value, now)
        ended[#ended + 1] = id
    end
    due, last = rows[at + 1], id
end
return reply(#rows < limit * 2 and 1 or 0, due, last)
