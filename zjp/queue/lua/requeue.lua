-- use: clock level wake
-- Finished jobs become ready again as their next run. Refused at `maxmemory`, as a submit is.
-- ARGV: count max, bytes max, (id, run it had (4 bytes), value, level, unique key)*. Reply: {'full', count, bytes} | {'ok', count, bytes, 1 or 0...}
local now = clock()
local held = call('HMGET', P .. 'n', 'o', 'b')
if tonumber(held[1] or 0) >= tonumber(ARGV[1]) or tonumber(held[2] or 0) >= tonumber(ARGV[2]) then
    return {'full', tonumber(held[1] or 0), tonumber(held[2] or 0)}
end
local answers, woken = {}, {}
for at = 3, #ARGV, 5 do
    local id, run, value, level, unique = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
    local known = call('HGET', P .. 'j', id)
    local may_run = not known
    if known and byte(known) == FINISHED then
        local had, has = 0, 0
        for place = 1, 4 do
            had = had * 256 + byte(run, place)
            has = has * 256 + byte(known, 1 + place)
        end
        may_run = has <= had
    end
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
