-- use: clock level
-- A level's list from a place on, without the entries that cancelled jobs left: of an id's entries the first ones are stale, as many as are
-- counted. Where the one that counts stands was noted when the job was run again; where that is not known it is searched for.
-- ARGV: level, place, most entries to look at, about as many as a search may compare
-- Reply: {place of the first one looked at, how many were looked at, how many were compared, (its number among those, id)*}
local key, compares_max = P .. 'q:' .. ARGV[1], tonumber(ARGV[4])
local head = tonumber(call('HGET', P .. 'heads', ARGV[1]) or 0)
local first = math.max(0, tonumber(ARGV[2]) - head)
local found = call('LRANGE', key, first, first + tonumber(ARGV[3]) - 1)
local counts = #found > 0 and call('HMGET', P .. 'stale', unpack(found)) or {}
local length, compared = call('LLEN', key), 0
local reply = {head + first, #found, 0}

-- Whether this entry counts; nil: it would have to be searched for, and the search would be too long for this call.
local function is_true(id, index, stale)
    local value = call('HGET', P .. 'j', id)
    if not value or byte(value) == FINISHED then
        return false
    end
    local seat = call('HGET', P .. 'seats', id)
    if seat and sub(seat, 1, 4) == sub(value, 2, 5) then
        return tonumber(sub(seat, 5)) == head + index
    end
    local is_near_head = index < length / 2
    local cost = is_near_head and index + 1 or length - index
    if compared > 0 and compared + cost > compares_max then
        return nil
    end
    compared = compared + cost
    return call('LPOS', key, id, 'rank', is_near_head and stale + 1 or -1, 'maxlen', cost) == index
end

for at, id in ipairs(found) do
    local counts_here = id ~= '' -- a hole that a sweep left
    if counts[at] then
        counts_here = is_true(id, first + at - 1, tonumber(counts[at]))
    end
    if counts_here == nil then
        reply[2] = at - 1
        break
    end
    if counts_here then
        reply[#reply + 1] = at
        reply[#reply + 1] = id
    end
end
reply[3] = compared
return reply
