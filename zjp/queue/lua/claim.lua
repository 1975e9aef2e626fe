-- use: clock level wake end reap due stale fence
-- Hand out up to `count` ready jobs under a new fence, after promoting what is due and taking back what was lost. 0: nothing new, only what
-- this call handed out before; and whoever was hinted and has no room says so by it.
-- ARGV: life, registration, count, number of this call, is it a repeat, outbox count max, bytes max, starvation ms, lease ms, may reap,
--       move max, weights: (queue or '*', weight)*
-- Reply: {fence or '0', now, next due or '-1', version, outbox count, bytes, values, rare: (id, lost, progress)*, ended ids, is idle}
local AGED_SLOT = 16
local LOOK_MAX = 10000 -- entries of cancelled jobs, and holes, that one call drops: a server that walks over all hears nobody meanwhile
local life, count = ARGV[1], tonumber(ARGV[3])
local now = clock()
local facts = call('HMGET', P .. 'n', 'v', 'o', 'b', 'p')
local version = tonumber(facts[1] or 1)

local function reply(fence, due, values, rare, ended, is_idle)
    return {fence, now, due, version, tonumber(facts[2] or 0), tonumber(facts[3] or 0), values, rare, ended, is_idle}
end

if call('HGET', P .. 'lives', life) ~= ARGV[2] then
    return reply('0', '-1', {}, {}, {}, 0)
end

local function rare_of(ids)
    local rare = {}
    if call('EXISTS', P .. 'lost', P .. 'progress') > 0 then
        for from = 1, #ids, 500 do
            local to = math.min(from + 499, #ids)
            local lost = call('HMGET', P .. 'lost', unpack(ids, from, to))
            local progress = call('HMGET', P .. 'progress', unpack(ids, from, to))
            for at = from, to do
                if lost[at - from + 1] or progress[at - from + 1] then
                    rare[#rare + 1] = ids[at]
                    rare[#rare + 1] = lost[at - from + 1] or ''
                    rare[#rare + 1] = progress[at - from + 1] or ''
                end
            end
        end
    end
    return rare
end

local last, last_fence = string.match(call('HGET', P .. 'open:' .. life, 'last') or '', '^(%d+):(%d+)$')
local number, last_number = tonumber(ARGV[4]), tonumber(last or 0)
if ARGV[5] == '1' and last_number <= number then -- the answer may have been lost: then its jobs are handed out again, under the same fence
    if last == ARGV[4] then
        local ids = call('SMEMBERS', P .. 'c:' .. last_fence)
        if #ids > 0 then
            return reply(last_fence, '-1', call('HMGET', P .. 'j', unpack(ids)), rare_of(ids), {}, 0)
        end -- a repeat was here before, and this one may be as late as that: who waits comes again at once, under a new number
        return reply('0', string.format('%.0f', now), {}, {}, {}, 0)
    end
    call('HSET', P .. 'open:' .. life, 'last', ARGV[4] .. ':0')
elseif last_number >= number then -- the network had kept it back, and its repeat or the next one was here: nobody waits for this answer
    return reply('0', '-1', {}, {}, {}, 0)
end

local weights, named = {}, {}
for at = 12, #ARGV, 2 do
    weights[ARGV[at]] = tonumber(ARGV[at + 1])
    named[#named + 1] = ARGV[at]
end
local function weight_of(queue)
    return weights[queue] or weights['*'] or 0
end

local ended, woken = {}, {}
local move_max = tonumber(ARGV[11])
local passed, returned = tonumber(facts[4] or 0), 0
if now - passed > 500 or now < passed then
    returned = reap(now, move_max, tonumber(ARGV[9]), ARGV[10] == '1', ended)
elseif call('EXISTS', P .. 'lapsed') == 1 then
    returned = return_lapsed(now, move_max, ended)
end
local due = next_due()
if due ~= '-1' and tonumber(due) <= now then
    promote_due(now, move_max, woken)
    due = next_due()
    for queue, jobs in pairs(woken) do
        wake(queue, jobs, math.min(1, count, weight_of(queue)))
    end
end
tell(ended)
if #ended > 0 then
    facts = call('HMGET', P .. 'n', 'v', 'o', 'b')
end
if tonumber(facts[2] or 0) >= tonumber(ARGV[6]) or tonumber(facts[3] or 0) >= tonumber(ARGV[7]) then
    return reply('0', '-1', {}, {}, ended, 0)
end

-- Queues that may give: {name, weight, levels (highest priority first), pending}.
local ready = call('HGETALL', P .. 'ready')
local queues, by_name = {}, {}
local has_paused = #ready > 0 and call('EXISTS', P .. 'paused') == 1
for at = 1, #ready, 2 do
    local level, pending = ready[at], tonumber(ready[at + 1])
    local name = sub(level, 2)
    local weight = weight_of(name)
    if weight > 0 and pending > 0 and not (has_paused and call('SISMEMBER', P .. 'paused', name) == 1) then
        local queue = by_name[name]
        if not queue then
            queue = {name = name, weight = weight, levels = {}, pending = 0, share = 0}
            by_name[name] = queue
            queues[#queues + 1] = queue
        end
        queue.levels[#queue.levels + 1] = {key = level, pending = pending, priority = byte(level)}
        queue.pending = queue.pending + pending
    end
end

-- Smooth weighted round robin; a queue drops out when it has no more. Source: nginx, upstream round robin.
if #queues == 1 then
    queues[1].share = math.min(count, queues[1].pending)
elseif #queues > 1 then
    table.sort(queues, function(one, other) return one.name < other.name end)
    local left, turns = {}, count
    for at, queue in ipairs(queues) do
        queue.current = tonumber(call('HGET', P .. 'turns', queue.name) or 0)
        left[at] = queue
    end
    while turns > 0 and #left > 0 do
        local total, best = 0, 1
        for at, queue in ipairs(left) do
            queue.current = queue.current + queue.weight
            total = total + queue.weight
            if queue.current > left[best].current then
                best = at
            end
        end
        local queue = left[best]
        queue.current = queue.current - total
        queue.share = queue.share + 1
        turns = turns - 1
        if queue.share == queue.pending then
            queue.current = 0
            table.remove(left, best)
        end
    end
    for _, queue in ipairs(queues) do
        call('HSET', P .. 'turns', queue.name, queue.current)
    end
end

local ids, values, segments = {}, {}, {}
local has_stale = call('EXISTS', P .. 'stale') == 1

local function note_segment(kind, place, level, first)
    segments[#segments + 1] = segment_of(kind, place, level, #ids - first, table.concat(ids, '', first + 1))
end

-- Those of them that are there to be claimed. `place`: of the first one in the level's list; none when they were returned.
local function keep(found, level, place)
    local got = call('HMGET', P .. 'j', unpack(found))
    local first, are_all = #ids, true
    for at = 1, #found do
        local value = got[at]
        if not value or byte(value) == FINISHED then
            are_all = false
            break
        end
    end
    if are_all and first == 0 then -- nearly always
        ids, values = found, got
        if place then
            note_segment('q', place, level, 0)
        end
        return #found
    end
    local kept, noted = first, first
    for at = 1, #found do
        local value = got[at]
        if value and byte(value) ~= FINISHED then
            kept = kept + 1
            ids[kept] = found[at]
            values[kept] = value
        elseif place and kept > noted then -- what stands together ends here
            note_segment('q', place + at - 1 - (kept - noted), level, noted)
            noted = kept
        end
    end
    if place and kept > noted then
        note_segment('q', place + #found - (kept - noted), level, noted)
    end
    return kept - first
end

-- Entries of cancelled jobs stay in the list and are counted by id, or are holes where a sweep was; drop them as they come up.
local looked, ahead = 0, 0

-- Up to `wanted` from the head of a list. Returns what stood together: {offset, ids}*, and how many entries were taken off, 0: none is left
local function pop_some(key, wanted)
    if not has_stale then
        local found = call('LPOP', key, wanted)
        return {{0, found}}, found and #found or 0
    end
    local found = call('LRANGE', key, 0, math.max(wanted, ahead) - 1)
    if #found == 0 then
        return {}, 0
    end
    local counts = call('HMGET', P .. 'stale', unpack(found))
    local kept, times = {}, {} -- an id may come twice: its stale entries first, then the one that counts
    local is_behind_gap, taken, walked = true, 0, 0
    while taken < wanted and walked < #found do
        walked = walked + 1
        local id = found[walked]
        local time = times[id] or {left = tonumber(counts[walked] or 0), dropped = 0}
        times[id] = time
        if id == '' then
            is_behind_gap = true
        elseif time.left == 0 then
            if is_behind_gap then
                kept[#kept + 1] = {walked - 1, {}}
                is_behind_gap = false
            end
            local together = kept[#kept][2]
            together[#together + 1] = id
            taken = taken + 1
        else
            time.left, time.dropped, is_behind_gap = time.left - 1, time.dropped + 1, true
        end
    end
    looked = looked + walked - taken
    call('LTRIM', key, walked, -1)
    forget_dropped(times)
    ahead = walked > taken and 500 or 0 -- where one was, there are more
    return kept, walked
end

local function take(level, wanted)
    if looked >= LOOK_MAX then
        return 0
    end
    local key, got, first = level.key, 0, #ids
    if call('EXISTS', P .. 'back:' .. key) == 1 then
        local popped = call('ZPOPMIN', P .. 'back:' .. key, wanted)
        local found = {}
        for at = 1, #popped, 2 do
            found[#found + 1] = popped[at]
        end
        for from = 1, #found, 500 do
            got = got + keep({unpack(found, from, math.min(from + 499, #found))})
        end
        if got > 0 then
            note_segment('b', 0, key, first)
        end
    end
    local is_dry = false
    while got < wanted and not is_dry and looked < LOOK_MAX do
        local found, popped = pop_some(P .. 'q:' .. key, math.min(wanted - got, 500))
        if popped == 0 then
            is_dry = true
        else
            local place = call('HINCRBY', P .. 'heads', key, popped) - popped
            for _, together in ipairs(found) do
                local kept = keep(together[2], key, place + together[1])
                got, looked = got + kept, looked + #together[2] - kept
                if not has_stale and kept < #together[2] then -- holes: where some are, there are more
                    has_stale, ahead = true, 500
                end
            end
        end
    end
    if is_dry or call('HINCRBY', P .. 'ready', key, 0 - got) <= 0 then -- -0 is no integer to Redis
        call('HDEL', P .. 'ready', key)
    end
    if got > 0 then
        call('HSET', P .. 'since', key, now)
    end
    level.pending = is_dry and 0 or level.pending - got
    return got
end

-- The level below the first one that has waited longest beyond the limit.
local function starving(queue)
    local worst, worst_since, is_first
    for _, level in ipairs(queue.levels) do
        if level.pending > 0 then
            if is_first == nil then
                is_first = false
            else
                local since = tonumber(call('HGET', P .. 'since', level.key) or now)
                if now - since >= tonumber(ARGV[8]) and (not worst or since < worst_since) then
                    worst, worst_since = level, since
                end
            end
        end
    end
    return worst
end

local function take_burst(queue, wanted)
    local got = 0
    for _, level in ipairs(queue.levels) do
        if got < wanted and level.pending > 0 then
            got = got + take(level, math.min(wanted - got, level.pending))
        end
    end
    return got
end

local function take_share(queue)
    local left = queue.share
    if #queue.levels > 1 then
        table.sort(queue.levels, function(one, other) return one.priority > other.priority end)
        local late = starving(queue)
        local turn_key = '\n' .. queue.name
        while late and left > 0 do
            local turn = tonumber(call('HGET', P .. 'turns', turn_key) or AGED_SLOT - 1)
            local got = take_burst(queue, math.min(left, AGED_SLOT - 1 - turn))
            turn = math.min(AGED_SLOT - 1, turn + got)
            left = left - got
            if left > 0 and turn == AGED_SLOT - 1 and late.pending > 0 then
                got = take(late, 1)
                left, turn = left - got, 0
            end
            call('HSET', P .. 'turns', turn_key, turn)
            if got == 0 then
                break
            end
            late = starving(queue)
        end
    end
    if left > 0 then
        take_burst(queue, left)
    end
end

-- Who died idle stays among the idle ones until a job wakes it: of a queue that gets none it would stay for ever.
local function forget_gone(key)
    for _, other in ipairs(call('SMEMBERS', key)) do
        if call('HEXISTS', P .. 'lives', other) == 0 then
            call('SREM', key, other)
        end
    end
end

for _, queue in ipairs(queues) do
    if queue.share > 0 then
        local before = #ids
        take_share(queue)
        if #ids > before then
            call('HINCRBY', P .. 'n', 'r:' .. queue.name, #ids - before)
        end
    end
end

-- "Nothing more there" and "I would take more" are one step, so no hint falls between them.
local is_idle = #ids < count and 1 or 0
for _, name in ipairs(named) do
    local key = P .. 'idle:' .. name
    if is_idle == 0 then
        call('SREM', key, life) -- a hint takes it out of one of them only
    elseif call('SADD', key, life) == 1 and call('SCARD', key) > call('HLEN', P .. 'lives') then
        forget_gone(key)
    end
end
-- What is left is for the next idle node: whoever was hinted may have had room for some of it only, or none.
local has_more = looked >= LOOK_MAX or returned >= move_max
for _, queue in ipairs(queues) do
    local left = 0
    for _, level in ipairs(queue.levels) do
        left = left + level.pending
    end
    if is_idle == 0 then
        wake(queue.name, left, 0)
    else
        has_more = has_more or left > 0
    end
end
if has_more then
    due = string.format('%.0f', now) -- come again at once
end
if #ids == 0 then
    return reply('0', due, {}, {}, ended, is_idle)
end
local fence = next_fence(now)
for from = 1, #ids, 1000 do
    call('SADD', P .. 'c:' .. fence, unpack(ids, from, math.min(from + 999, #ids)))
end
note_claim(life, ARGV[4], fence, now, table.concat(segments))
return reply(fence, due, values, rare_of(ids), ended, is_idle)
