-- use: clock level wake end reap
-- Of what one life holds here, keep what it says it has; the rest goes back. For a server that knows less than its predecessor did: an outcome
-- was taken there and is lost, so the node is through with a job that is still in its claim here.
-- ARGV: life, highest fence it was given, n x (fence, count, count x id). Claims above that fence are on their way to it.
-- Reply: how many went back
local life, top = ARGV[1], tonumber(ARGV[2])
local now = clock()
local kept, at = {}, 3
while at <= #ARGV do
    local ids = {}
    for place = at + 2, at + 1 + tonumber(ARGV[at + 1]) do
        ids[ARGV[place]] = true
    end
    kept[ARGV[at]] = ids
    at = at + 2 + tonumber(ARGV[at + 1])
end
local count, woken, ended = 0, {}, {}
for _, fence in ipairs(call('HKEYS', P .. 'open:' .. life)) do
    if fence ~= 'last' and tonumber(fence) <= top then
        local mine = kept[fence] or {}
        local claimed_ms = string.match(call('HGET', P .. 'claims', fence) or '', '^[^\n]*\n(%d+)') or '0'
        for _, id in ipairs(call('SMEMBERS', P .. 'c:' .. fence)) do
            if not mine[id] then
                call('SREM', P .. 'c:' .. fence, id)
                if take_back(id, fence, life, claimed_ms, now, ended, woken) then
                    count = count + 1
                end
            end
        end
        if call('EXISTS', P .. 'c:' .. fence) == 0 then
            call('HDEL', P .. 'claims', fence)
            call('HDEL', P .. 'open:' .. life, fence)
        end
    end
end
for queue, jobs in pairs(woken) do
    wake(queue, jobs, 0)
end
tell(ended)
return count
