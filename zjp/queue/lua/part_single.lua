-- Jobs that are stored one by one: those of a submit that have options, and those of a schedule's ticks.
local function read_single(take)
    local single = {id = take(), spec = take(), level = take(), header = take(), delay = tonumber(take()), run_at = tonumber(take()),
        unique = take(), keys = {}}
    for number = 1, tonumber(take()) do
        single.keys[number] = {take(), take()}
    end
    return single
end

-- `ready`: queue -> jobs, to be hinted by the caller. Returns whether it is delayed.
local function store_single(single, now, ready)
    local queue = string.sub(single.level, 2)
    local due = single.delay > 0 and now + single.delay or single.run_at
    local is_later = due > now
    -- A StoredJob up to its last field that is not the default.
    local value = 'l\0\0\0\1' .. single.header .. (is_later and '\147' or '\146') .. single.spec .. u64(now) .. (is_later and u64(due) or '')
    call('HSET', P .. 'j', single.id, value)
    if is_later then
        call('ZADD', P .. 'd', due, single.id)
        call('HINCRBY', P .. 'n', 's:' .. queue, 1)
        ready[queue] = ready[queue] or 1 -- who is idle must learn of the new due time
    else
        call('RPUSH', P .. 'q:' .. single.level, single.id)
        ready_up(single.level, 1, now)
        ready[queue] = (ready[queue] or 0) + 1
    end
    if single.unique ~= '' then
        call('HSET', P .. 'uq', single.unique, single.id)
    end
    return is_later
end

-- The name of a queue that is one more than `most`; nil when all of them are known or may become so.
local function excess_queue(names, most)
    local count = call('SCARD', P .. 'queues')
    for name in pairs(names) do
        if call('SISMEMBER', P .. 'queues', name) == 0 then
            count = count + 1
            if count > most then
                return name
            end
        end
    end
end

local function learn_queues(names)
    for name in pairs(names) do
        call('SADD', P .. 'queues', name)
    end
end
