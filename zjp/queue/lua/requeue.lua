-- use: clock level wake records
-- Finished jobs become ready again as their next run, unless a later one has finished meanwhile. Refused at `maxmemory`, as a submit is.
-- ARGV: count max, bytes max, (id, run it had (4 bytes), value, level, unique key)*. Reply: {'full', count, bytes} | {'ok', count, bytes, 1 or 0...}
local now = clock()
local held = call('HMGET', P .. 'n', 'o', 'b')
if tonumber(held[1] or 0) >= tonumber(ARGV[1]) or tonumber(held[2] or 0) >= tonumber(ARGV[2]) then
    return {'full', tonumber(held[1] or 0), tonumber(held[2] or 0)}
end
local answers, woken = {}, {}

local function run_of(value, from)
    local run = 0
    for place = from, from + 3 do
        run = run * 256 + byte(value, place)
    end
    return run
end

local function is_latest(id, run, known)
    if known then
        return byte(known) == FINISHED and run_of(known, 2) <= run
    end
    local record = call('HGET', P .. 'records:r', id) -- where records are kept here
    return not record or run_of(record, MARK + 1) <= run
end

for at = 3, #ARGV, 5 do
    local id, run, value, level, unique = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
    local known = call('HGET', P .. 'j', id)
    local may_run = is_latest(id, run_of(run, 1), known)
    if may_run and unique ~= '' and call('HEXISTS', P .. 'uq', unique) == 1 then
        may_run = false
    end
    if may_run then
        call('HSET', P .. 'j', id, value)
        call('SADD', P .. 'again', id)
        call('HDEL', P .. 'lost', id) -- they are in the attempts of the record that was given
        call('SADD', P .. 'queues', sub(level, 2))
        call('RPUSH', P .. 'q:' .. level, id)
        ready_up(level, 1, now)
        woken[sub(level, 2)] = (woken[sub(level, 2)] or 0) + 1
        if unique ~= '' then
            call('HSET', P .. 'uq', unique, id)
        end
        if known then
            call('HINCRBY', P .. 'n', 'o', -1)
            call('HINCRBY', P .. 'n', 'b', 5 - #known)
        end
    end
    answers[#answers + 1] = may_run and 1 or 0
end
for queue, jobs in pairs(woken) do
    wake(queue, jobs, 0)
end
held = call('HMGET', P .. 'n', 'o', 'b')
return {'ok', tonumber(held[1] or 0), tonumber(held[2] or 0), unpack(answers)}
