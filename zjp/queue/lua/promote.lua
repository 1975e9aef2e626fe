-- use: clock level wake due
-- Delayed jobs become ready now. Reply: 1 promoted, by a former try of this call too; 0 not delayed, 2 it moved
-- ARGV: is repeat, (id, value as read, value with its new due time)*
local now = clock()
local answers, woken = {}, {}
for at = 2, #ARGV, 3 do
    local id = ARGV[at]
    local answer = 0
    if call('ZSCORE', P .. 'd', id) then
        answer = 2
        if call('HGET', P .. 'j', id) == ARGV[at + 1] then
            call('ZREM', P .. 'd', id)
            make_ready(id, ARGV[at + 1], now, woken)
            call('HSET', P .. 'j', id, ARGV[at + 2])
            answer = 1
        end
    elseif ARGV[1] == '1' and call('HGET', P .. 'j', id) == ARGV[at + 2] then
        answer = 1
    end
    answers[#answers + 1] = answer
end
for queue, jobs in pairs(woken) do
    wake(queue, jobs, 0)
end
return answers
