-- A claim as it is kept: a fence above all before it, whose it is and since when, and what it took from where.
local function next_fence(now)
    return string.format('%.0f', math.max(tonumber(call('GET', P .. 'fence') or 0) + 1, now * 1024))
end

-- `count` jobs that stood together in a level from `place` on, or were returned to it; `ids`: joined.
local function segment_of(kind, place, level, count, ids)
    return kind .. place .. '\n' .. #level .. '\n' .. level .. count .. '\n' .. ids
end

local function note_claim(life, number, fence, now, segments)
    call('SET', P .. 'fence', fence)
    call('HSET', P .. 'claims', fence, life .. '\n' .. string.format('%.0f', now) .. '\n' .. segments)
    call('HSET', P .. 'open:' .. life, fence, 1, 'last', number .. ':' .. fence)
end
