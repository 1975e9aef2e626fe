-- A job's value: state (1 byte: l live, r live and delayed as a retry, f finished), run (4), then if live: priority (1), length of queue (2),
-- length of unique key (2), queue, key, job. A level is priority (1) + queue.
local byte, sub = string.byte, string.sub
local FINISHED, RETRYING = 102, 114

-- A number as msgpack: 64 bits, unsigned.
local function u64(number)
    local bytes = {}
    for at = 8, 1, -1 do
        bytes[at] = string.char(number % 256)
        number = math.floor(number / 256)
    end
    return '\207' .. table.concat(bytes)
end

local function level_of(value)
    local high, low = byte(value, 7, 8)
    return sub(value, 6, 6) .. sub(value, 11, 10 + high * 256 + low)
end

local function ready_up(level, count, now)
    if call('HINCRBY', P .. 'ready', level, count) == count then
        call('HSET', P .. 'since', level, now)
    end
end

local function ready_down(level, count)
    if call('HINCRBY', P .. 'ready', level, -count) <= 0 then
        call('HDEL', P .. 'ready', level)
    end
end

-- To the front of its level, among those returned in the order of ids.
local function give_back(id, level, now)
    call('ZADD', P .. 'back:' .. level, 0, id)
    ready_up(level, 1, now)
end
