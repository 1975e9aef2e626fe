-- Finished jobs as records, in batches. R: the prefix of their keys.
-- `r`: id -> mark (8 bytes), run (4), record. `rows`: a batch (mark, ids) by the row of its first. `times`: that row -> when it finished.
-- An id of a batch counts while its record has the batch's mark: who was removed, or came again, has another or none.
local MARK = 8
local TRIM_STEP = 1000
local added_records = 0

local function take_rows(R, count)
    return call('INCRBY', R .. 'row', count) - count + 1
end

-- `pairs_` from `first` to `last`: id, value. Marks never repeat for an id.
local function put_records(R, row, mark, ms, ids, pairs_, first, last)
    local place = string.format('%.0f', row)
    added_records = added_records + #ids
    if call('HSET', R .. 'r', unpack(pairs_, first, last)) < #ids then
        call('SET', R .. 'moved', 1) -- from now on marks must be looked at before an id of a batch is removed
    end
    call('ZADD', R .. 'rows', place, mark .. table.concat(ids))
    call('ZADD', R .. 'times', ms, place)
end

local function ids_of(batch, from, to)
    local ids = {}
    for at = from, to do
        ids[#ids + 1] = string.sub(batch, MARK + 1 + 16 * (at - 1), MARK + 16 * at)
    end
    return ids
end

-- The ids that still are this batch's. In small steps, since a record may have a megabyte.
local function still_marked(R, batch, ids)
    local mark, kept = string.sub(batch, 1, MARK), {}
    for from = 1, #ids, 50 do
        local to = math.min(from + 49, #ids)
        for at, value in ipairs(call('HMGET', R .. 'r', unpack(ids, from, to))) do
            if value and string.sub(value, 1, MARK) == mark then
                kept[#kept + 1] = ids[from + at - 1]
            end
        end
    end
    return kept
end

-- Remove up to `most` records of a batch, the first of them first. Returns how many there were.
local function drop_records(R, batch, place, most)
    local size, done, removed = (#batch - MARK) / 16, 0, 0
    local has_moved = call('EXISTS', R .. 'moved') == 1
    while done < size and removed < most do
        local ids = ids_of(batch, done + 1, math.min(size, done + 500, done + most - removed))
        done = done + #ids
        local there = has_moved and still_marked(R, batch, ids) or ids
        if #there > 0 then
            removed = removed + call('HDEL', R .. 'r', unpack(there))
        end
    end
    local ms = done < size and call('ZSCORE', R .. 'times', place)
    call('ZREM', R .. 'rows', batch)
    call('ZREM', R .. 'times', place)
    if done < size then
        place = string.format('%.0f', tonumber(place) + done)
        call('ZADD', R .. 'rows', place, string.sub(batch, 1, MARK) .. string.sub(batch, MARK + 1 + 16 * done))
        call('ZADD', R .. 'times', ms, place)
    end
    return removed
end

-- Dated far ahead, by a clock that was: then it is older than whatever came behind it, however that is dated.
local function is_behind_older(R, ms, young_from, young_ms)
    if ms <= young_from + 2 * young_ms then
        return false
    end
    return tonumber(call('ZRANGE', R .. 'times', 0, 0, 'WITHSCORES')[2]) <= young_from
end

-- The oldest make room, up to `left` of them, unless they finished less than `young_ms` ago: by its record a repeat of a finished job is
-- told. A batch of which nothing is left has a place, too, until it is pruned: so those are bounded as well. Returns how many records went.
local function trim_records(R, most, young_ms, left)
    local over = call('HLEN', R .. 'r') - most
    local batches_over = call('ZCARD', R .. 'rows') - 2 * most
    if over <= 0 and batches_over <= 0 then
        return 0
    end
    local time, removed = call('TIME'), 0
    local young_from = time[1] * 1000 + math.floor(time[2] / 1000) - young_ms
    while (over > 0 or batches_over > 0) and left > 0 do
        local oldest = call('ZRANGE', R .. 'rows', 0, 0, 'WITHSCORES')
        if #oldest == 0 then
            break
        end
        local place = string.format('%.0f', tonumber(oldest[2]))
        local ms = tonumber(call('ZSCORE', R .. 'times', place) or 0)
        if ms > young_from and not is_behind_older(R, ms, young_from, young_ms) then
            break
        end
        local dropped = drop_records(R, oldest[1], place, over > 0 and math.min(over, left) or #oldest[1])
        over, batches_over, left, removed = over - dropped, batches_over - 1, left - math.max(1, dropped), removed + dropped
    end
    return removed
end

-- What a step that brings records trims: more than it brought, so that who falls behind catches up, in short steps.
local function trim_after_put(R, most, young_ms)
    trim_records(R, most, young_ms, TRIM_STEP + 2 * added_records)
end
