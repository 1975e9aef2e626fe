-- use: clock level wake records
-- Finished jobs become ready again as their next run, unless a later one has finished meanwhile. Refused at `maxmemory`, as a submit is.
-- A repeat, whose first try may have done it unheard, finds the next run there: that is done then, whoever did it.
-- What has finished and left for other records is not known here; whether the next run was made since the caller looked, `reruns` tells.
-- ARGV: count max, bytes max, is repeat, `reran` when the caller looked (or empty), runs to be kept in `reruns`,
--       (id, run it had (4 bytes), value, level, unique key)*
-- Reply: {'full', count, bytes} | {'overtaken', count, bytes} | {'ok', count, bytes, 1, 2 (done before) or 0...}
local now = clock()
local held = call('HMGET', P .. 'n', 'o', 'b')
if tonumber(held[1] or 0) >= tonumber(ARGV[1]) or tonumber(held[2] or 0) >= tonumber(ARGV[2]) then
    return {'full', tonumber(held[1] or 0), tonumber(held[2] or 0)}
end
local since, kept_max = tonumber(ARGV[4]), tonumber(ARGV[5])
if since and call('ZCARD', P .. 'reruns') >= kept_max and since < tonumber(call('ZRANGE', P .. 'reruns', 0, 0, 'WITHSCORES')[2]) then
    return {'overtaken', tonumber(held[1] or 0), tonumber(held[2] or 0)}
end
-- By the clock, so that another server that knows less goes on above what was told of this one.
local place = math.max(tonumber(call('GET', P .. 'reran') or 0) + 1, now)
local answers, woken = {}, {}
local made = 0

local function run_of(value, from)
    local run = 0
    for place = from, from + 3 do
        run = run * 256 + byte(value, place)
    end
    return run
end

-- Of what is known of the job: whether it has finished, and its run; -1: nothing is. `value`: what it is to become.
local function latest(id, known, value)
    if known then
        return byte(known) == FINISHED, run_of(known, 2)
    end
    local record = call('HGET', P .. 'records:r', id) -- where records are kept here, or were
    local made_at = since and call('ZSCORE', P .. 'reruns', id .. sub(value, 2, 5))
    return true, math.max(record and run_of(record, MARK + 1) or -1, made_at and tonumber(made_at) > since and run_of(value, 2) or -1)
end

for at = 6, #ARGV, 5 do
    local id, run, value, level, unique = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
    local known = call('HGET', P .. 'j', id)
    local has_finished, latest_run = latest(id, known, value)
    local may_run = has_finished and latest_run <= run_of(run, 1)
    if may_run and unique ~= '' and call('HEXISTS', P .. 'uq', unique) == 1 then
        may_run = false
    end
    if may_run then
        call('HSET', P .. 'j', id, value)
        call('SADD', P .. 'again', id)
        call('ZADD', P .. 'reruns', string.format('%.0f', place), id .. sub(value, 2, 5))
        made = made + 1
        call('HDEL', P .. 'lost', id) -- they are in the attempts of the record that was given
        call('SADD', P .. 'queues', sub(level, 2))
        local length = call('RPUSH', P .. 'q:' .. level, id)
        if call('HEXISTS', P .. 'stale', id) == 1 then -- cancelled where it stood, its old entry waits as well: this is the one that counts
            local place = tonumber(call('HGET', P .. 'heads', level) or 0) + length - 1
            call('HSET', P .. 'seats', id, sub(value, 2, 5) .. string.format('%.0f', place))
        end
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
    local was_done = ARGV[3] == '1' and latest_run == run_of(run, 1) + 1
    answers[#answers + 1] = may_run and 1 or was_done and 2 or 0
end
if made > 0 then
    call('SET', P .. 'reran', string.format('%.0f', place))
    local over = call('ZCARD', P .. 'reruns') - kept_max
    if over > 0 then
        call('ZREMRANGEBYRANK', P .. 'reruns', 0, over - 1)
    end
end
for queue, jobs in pairs(woken) do
    wake(queue, jobs, 0)
end
held = call('HMGET', P .. 'n', 'o', 'b')
return {'ok', tonumber(held[1] or 0), tonumber(held[2] or 0), unpack(answers)}
