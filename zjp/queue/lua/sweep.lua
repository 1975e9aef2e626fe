-- use: clock level stale
-- A bounded step of dropping what cancelled jobs left in the lists. One pass at a time, through one level's list, from its head on: what
-- stands at the head is cut off, what stands behind ready jobs becomes a hole (an empty entry, 2 bytes), since places must not shift.
-- A pass is begun where enough was left since the last one began (`sweeps`) that looking at the whole list is worth it, or where nothing
-- is ready any more; what is less comes up with the claims.
-- ARGV: most entries to look at, where the search through `sweeps` is (0: at its begin)
-- Reply: {where the search is now, 1 while there is more to do at once, how many were dropped}
local SHARE = 16 -- entries that one that was left pays for
local SMALL = 1000 -- a list of so many is one step anyway
local SEEK = 200000 -- entries that the server passes on its way to one, as dear as looking at one
local BYTES = 1000000 -- of jobs that are looked at, in one step
local budget, cursor, dropped = tonumber(ARGV[1]), ARGV[2], 0

-- Whether it stands for a job that runs again, or was submitted anew; then only the order of its entries tells which one counts. Bytes too.
local function is_live(id)
    if call('HSTRLEN', P .. 'j', id) == 0 then
        return false, 0
    end
    local value = call('HGET', P .. 'j', id)
    return byte(value) ~= FINISHED, #value
end

-- Go on through a level's list. Returns the place to go on from; nil: it is through.
local function look(level, place)
    local key, head = P .. 'q:' .. level, tonumber(call('HGET', P .. 'heads', level) or 0)
    local first = math.max(0, place - head)
    local most = math.max(1, math.min(math.ceil(budget), 1000))
    local found = call('LRANGE', key, first, first + most - 1)
    if #found == 0 or (first > 0 and call('EXISTS', P .. 'stale') == 0) then
        return nil
    end
    local counts, length = call('HMGET', P .. 'stale', unpack(found)), call('LLEN', key)
    local times, holes, looked, leading, bytes = {}, {}, 0, 0, BYTES
    while looked < #found and budget > 0 and bytes > 0 do
        local id, index = found[looked + 1], first + looked
        local is_gone = id == ''
        if counts[looked + 1] then
            local time = times[id]
            if not time then
                time = {left = tonumber(counts[looked + 1]), dropped = 0}
                times[id] = time
                if first > 0 then -- its entries before are not in sight
                    local is_there, size = is_live(id)
                    bytes = bytes - size
                    time.left = is_there and 0 or time.left
                end
            end
            if time.left > 0 then
                time.left, time.dropped, is_gone = time.left - 1, time.dropped + 1, true
                dropped = dropped + 1
                if leading < index then
                    holes[#holes + 1] = index
                    budget = budget - 1 - math.min(index, length - index) / SEEK
                end
            end
        end
        if is_gone and leading == index then
            leading = index + 1
        end
        looked, budget = looked + 1, budget - 1
    end
    for _, index in ipairs(holes) do
        call('LSET', key, index, '')
    end
    if #holes > 0 then
        call('HINCRBY', P .. 'sweeps', level, 0) -- to be looked at when all that is ready was claimed
    end
    if leading > 0 then
        call('LTRIM', key, leading, -1)
        call('HINCRBY', P .. 'heads', level, leading)
    end
    forget_dropped(times)
    if looked == #found and #found < most then
        return nil
    end
    return head + first + looked
end

local function is_worth_it(level, left, length)
    if left > 0 and (length <= SMALL or left * SHARE >= length) then
        return true
    end
    return call('HEXISTS', P .. 'ready', level) == 0 -- nothing but remains
end

-- Levels whose lists are worth a pass.
local function search()
    local levels = {}
    local answer = call('HSCAN', P .. 'sweeps', cursor, 'COUNT', 50)
    cursor = answer[1]
    for at = 1, #answer[2], 2 do
        local level = answer[2][at]
        local length = call('LLEN', P .. 'q:' .. level)
        if length == 0 then
            call('HDEL', P .. 'sweeps', level)
        elseif is_worth_it(level, tonumber(answer[2][at + 1]), length) then
            levels[#levels + 1] = level
        end
        budget = budget - 1
    end
    return levels
end

local under_way = call('GET', P .. 'sweep')
local place, level
if under_way then
    local colon = string.find(under_way, ':', 1, true)
    place, level = tonumber(sub(under_way, 1, colon - 1)), sub(under_way, colon + 1)
end
local levels = {}
local has_searched = false
while budget > 0 do
    if not level then
        if #levels == 0 then
            if has_searched and cursor == '0' then
                break
            end
            levels, has_searched = search(), true
        end
        level, place = table.remove(levels), 0
        if level then
            call('HDEL', P .. 'sweeps', level)
        end
    end
    if level then
        place = look(level, place)
        level = place and level
        budget = budget - 1
    end
end
if level then
    call('SET', P .. 'sweep', string.format('%.0f', place) .. ':' .. level)
elseif under_way then
    call('UNLINK', P .. 'sweep')
end
local is_over = not level and #levels == 0 and has_searched and cursor == '0'
return {cursor, is_over and 0 or 1, dropped}
