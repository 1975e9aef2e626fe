-- use: clock level wake single fence
-- Store one request, or nothing of it. Checks everything before its first write, which is the one that `maxmemory` refuses.
-- A request of one level into an idle node is handed to that node in the same step when nothing else is ready: as a claim would do it.
-- ARGV: 'queue known' flag, queues max, the sender's life when it is idle, else '', outbox count max, bytes max, window ms, default key ttl ms,
--       its registration when jobs may be handed to it, else '', number of that claim, how many jobs it has room for,
--       sessions: n x (name, lowest, highest counter, oldest, youngest ms, expected generation or '' = must be new)
--       suspects: n x id (must not be known)
--       groups: n x (level, count, count x (id, value))
--       singles: n x (id, spec, level, header, delay ms, run at ms, unique key, keys n, n x (key, content))
-- Reply: {'full', count, bytes} | {'suspect'} | {'again'} | {'queues', name} | {'conflict', key, id} | {'ok', count, bytes, fence or '0', answers...}
local ARGV = ARGV -- a global is looked up by its name each time
local now = clock()
local at = 11
local function take()
    at = at + 1
    return ARGV[at - 1]
end

local held = call('HMGET', P .. 'n', 'o', 'b')
local out_count, out_bytes = tonumber(held[1] or 0), tonumber(held[2] or 0)
if out_count >= tonumber(ARGV[4]) or out_bytes >= tonumber(ARGV[5]) then
    return {'full', out_count, out_bytes}
end
local window_ms = tonumber(ARGV[6])
local sessions = {}
for number = 1, tonumber(take()) do
    local name, low, high, oldest, youngest, expected =
        take(), tonumber(take()), tonumber(take()), tonumber(take()), tonumber(take()), take()
    local top, generation = string.match(call('GET', P .. 's:' .. name) or '', '^(%d+):(%d+)$')
    if expected == '' then
        if (top and low <= tonumber(top)) or (not top and oldest < now - window_ms / 2) then
            return {'suspect'}
        end
    elseif expected ~= (generation or 'none') then
        return {'again'}
    end
    if expected ~= '' then
        generation = (tonumber(generation) or 0) + 1
    end
    sessions[number] = {name, math.max(high, tonumber(top or -1)), generation or 0, math.min(math.max(youngest, now), now + 86400000)}
end
local suspects = tonumber(take())
for _ = 1, suspects do
    if call('HEXISTS', P .. 'j', take()) == 1 then
        return {'again'}
    end
end

local groups_at = at
local names = {}
local groups = tonumber(take())
for _ = 1, groups do
    names[string.sub(take(), 2)] = true
    at = at + 2 * tonumber(take())
end
-- Keys that callers made are judged here, before anything is written; answers of those that are not stored.
-- `keyed`: key -> id of the job that it now stands for, which may be the holder of a unique key, and the content of the request.
local answers, stored, keyed, unique = {}, {}, {}, {}
for _ = 1, tonumber(take()) do
    local single = read_single(take)
    names[string.sub(single.level, 2)] = true
    local answer
    for _, pair in ipairs(single.keys) do
        local key, content = pair[1], pair[2]
        local known = keyed[key] or call('GET', P .. 'ik:' .. key)
        if known and not answer then
            if string.sub(known, 17) ~= content then
                return {'conflict', key, string.sub(known, 1, 16)}
            end
            answer = {'e', string.sub(known, 1, 16)}
        end
    end
    if not answer then
        local holder = single.unique ~= '' and (unique[single.unique] or call('HGET', P .. 'uq', single.unique))
        for _, pair in ipairs(single.keys) do
            keyed[pair[1]] = (holder or single.id) .. pair[2]
        end
        if holder then
            answer = {'u', holder}
        end
    end
    if answer then
        answers[#answers + 1] = single.id
        answers[#answers + 1] = answer[1]
        answers[#answers + 1] = answer[2]
    else
        if single.unique ~= '' then
            unique[single.unique] = single.id
        end
        stored[#stored + 1] = single
    end
end

-- Whether this life gets them: it is idle, so it serves the queue and would have claimed them, and nobody else's turn is before theirs.
local life, room = ARGV[3], tonumber(ARGV[10])
local function is_handed(level, count)
    local queue = string.sub(level, 2)
    local last = string.match(call('HGET', P .. 'open:' .. life, 'last') or '', '^(%d+):')
    return count <= room and tonumber(last or 0) < tonumber(ARGV[9])
        and call('HGET', P .. 'lives', life) == ARGV[8]
        and (call('SISMEMBER', P .. 'idle:*', life) == 1 or call('SISMEMBER', P .. 'idle:' .. queue, life) == 1)
        and call('HLEN', P .. 'ready') == 0 and call('LLEN', P .. 'q:' .. level) == 0
        and call('SISMEMBER', P .. 'paused', queue) == 0
end
local fence = '0'
if ARGV[8] ~= '' and groups == 1 and #stored == 0 and #answers == 0 and is_handed(ARGV[groups_at + 1], tonumber(ARGV[groups_at + 2])) then
    fence = next_fence(now)
end

if ARGV[1] ~= '1' then
    local excess = excess_queue(names, tonumber(ARGV[2]))
    if excess then
        return {'queues', excess}
    end
    learn_queues(names)
end

-- From here on it only writes.
local ready, handed = {}, {}
at = groups_at
for _ = 1, tonumber(take()) do
    local level, count = take(), tonumber(take())
    local ends_at = at + 2 * count
    while at < ends_at do
        local to, ids, number = math.min(at + 1000, ends_at) - 1, {}, 0
        for place = at, to, 2 do
            number = number + 1
            ids[number] = ARGV[place]
        end
        call('HSET', P .. 'j', unpack(ARGV, at, to))
        if fence ~= '0' then
            call('SADD', P .. 'c:' .. fence, unpack(ids))
            handed[#handed + 1] = table.concat(ids)
        else
            call('RPUSH', P .. 'q:' .. level, unpack(ids))
        end
        at = to + 1
    end
    if fence ~= '0' then
        local queue = string.sub(level, 2)
        local place = call('HINCRBY', P .. 'heads', level, count) - count
        note_claim(life, ARGV[9], fence, now, segment_of('q', place, level, count, table.concat(handed)))
        call('HINCRBY', P .. 'n', 'r:' .. queue, count)
        if count == room then -- it is idle no more
            call('SREM', P .. 'idle:' .. queue, life)
            call('SREM', P .. 'idle:*', life)
        end
    else
        ready_up(level, count, now)
        ready[string.sub(level, 2)] = (ready[string.sub(level, 2)] or 0) + count
    end
end
for _, single in ipairs(stored) do
    store_single(single, now, ready)
end
for key, value in pairs(keyed) do
    call('SET', P .. 'ik:' .. key, value, 'PX', ARGV[7])
end
for _, session in ipairs(sessions) do
    -- Kept until its ids look old by the store's clock, too: what is forgotten is then suspected by its age.
    call('SET', P .. 's:' .. session[1], session[2] .. ':' .. session[3], 'PX', string.format('%.0f', session[4] - now + window_ms))
end
for queue, count in pairs(ready) do
    local woken = 0 -- the sender claims by itself, when it serves this queue and has room
    if life ~= '' then
        woken = math.min(1, call('SREM', P .. 'idle:' .. queue, life) + call('SREM', P .. 'idle:*', life))
    end
    wake(queue, count, woken)
end
return {'ok', out_count, out_bytes, fence, unpack(answers)}
