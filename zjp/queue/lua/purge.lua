-- use: clock level wake end later remains
-- One bounded step: end jobs of one queue that wait.
-- ARGV: queue, 'begin' | 'ready' | 'later', limit, how far it fills the outbox: count, bytes; later: due time and id of the last one seen
-- Reply: begin: {known, ready, version}; else {ended, is over, count, bytes, ids}, and of later what to go on behind: due time, id;
--        {-1}: there is a job to end, and no room for its record
local LOOK_MAX = 10000 -- entries, most of which may be of jobs that were cancelled before
local queue, limit = ARGV[1], tonumber(ARGV[3])
local now = clock()
local ended = {}
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
    note_remains(queue)
    if call('HEXISTS', P .. 'n', 'v') == 0 then
        call('HSET', P .. 'n', 'v', 1)
    end
    return {1, ready, call('HINCRBY', P .. 'n', 'v', 1)}
end

local held = call('HMGET', P .. 'n', 'o', 'b')
local free, free_bytes = tonumber(ARGV[4]) - tonumber(held[1] or 0), tonumber(ARGV[5]) - tonumber(held[2] or 0)

local function has_room()
    return free > 0 and free_bytes > 0
end

local function end_one(id, value)
    free, free_bytes = free - 1, free_bytes - end_cancelled(id, value, now)
    ended[#ended + 1] = id
end

local function end_ready(id, level)
    local value = call('HGET', P .. 'j', id)
    if value and byte(value) ~= FINISHED then
        end_one(id, value)
        ready_down(level, 1)
    end
end

local function end_entry(id, level)
    if not call('HGET', P .. 'stale', id) then
        end_ready(id, level)
    elseif call('HINCRBY', P .. 'stale', id, -1) <= 0 then
        call('HDEL', P .. 'stale', id)
        call('HDEL', P .. 'seats', id)
    end
end

-- Each of them in turn, while there is room. Returns how many.
local function go_through(ids, level, deed)
    for at, id in ipairs(ids) do
        if not has_room() then
            return at - 1
        end
        deed(id, level)
    end
    return #ids
end

if ARGV[2] == 'ready' then
    if not has_room() then
        return count_ready() > 0 and {-1} or reply(1)
    end
    free = math.min(limit, free)
    local left = LOOK_MAX
    for priority = 10, 1, -1 do
        local level = string.char(priority) .. queue
        while has_room() and left > 0 do
            local back = go_through(call('ZRANGE', P .. 'back:' .. level, 0, math.min(free, 500) - 1), level, end_ready)
            if back > 0 then
                call('ZREMRANGEBYRANK', P .. 'back:' .. level, 0, back - 1)
            end
            local listed = has_room() and call('LRANGE', P .. 'q:' .. level, 0, math.min(free, 500) - 1) or {}
            local gone = go_through(listed, level, end_entry)
            if gone > 0 then
                call('LTRIM', P .. 'q:' .. level, gone, -1)
                call('HINCRBY', P .. 'heads', level, gone)
            end
            if back + gone == 0 then
                break
            end
            left = left - back - gone
        end
    end
    return reply(has_room() and left > 0 and 1 or 0)
end

local due, last = ARGV[6], ARGV[7]
local from = rank_behind(tonumber(due), last)
local rows = call('ZRANGE', P .. 'd', from, from + limit - 1, 'WITHSCORES')
for at = 1, #rows, 2 do
    local id = rows[at]
    local value = call('HGET', P .. 'j', id)
    if value and sub(level_of(value), 2) == queue then
        if not has_room() then
            return at == 1 and {-1} or reply(0, due, last)
        end
        call('ZREM', P .. 'd', id)
        call('HINCRBY', P .. 'n', (byte(value) == RETRYING and 't:' or 's:') .. queue, -1)
        end_one(id, value)
    end
    due, last = rows[at + 1], id
end
return reply(#rows < limit * 2 and 1 or 0, due, last)
