-- use: clock level wake single lead document
-- A step of the leader: a document changes and jobs are stored, or nothing of it. Checks everything before its first write, as submit does.
-- ARGV: owner, epoch, kind, name, version it replaces, data, outbox count max, bytes max, queues max, singles: n x (as in submit)
-- Reply: {'fenced', epoch, owner, ms left} | {'stale'} | {'full', count, bytes} | {'queues', name} | {'ok', version, count, bytes, answers...}
local now = clock()
local refused = refusal(ARGV[1], ARGV[2], now)
if refused then
    return refused
end
local kind, name, version = ARGV[3], ARGV[4], tonumber(ARGV[5])
if document_version(kind, name) ~= version then
    return {'stale'}
end
local at = 10
local function take()
    at = at + 1
    return ARGV[at - 1]
end
local held = call('HMGET', P .. 'n', 'o', 'b')
local out_count, out_bytes = tonumber(held[1] or 0), tonumber(held[2] or 0)
local jobs = tonumber(take())
if jobs > 0 and (out_count >= tonumber(ARGV[7]) or out_bytes >= tonumber(ARGV[8])) then
    return {'full', out_count, out_bytes}
end
local names, stored, answers, unique = {}, {}, {}, {}
for _ = 1, jobs do
    local single = read_single(take)
    names[string.sub(single.level, 2)] = true
    local kept, holder = 'e', call('HEXISTS', P .. 'j', single.id) == 1 and single.id
    if not holder and single.unique ~= '' then
        kept, holder = 'u', unique[single.unique] or call('HGET', P .. 'uq', single.unique)
        unique[single.unique] = holder or single.id
    end
    if holder then
        answers[#answers + 1] = single.id
        answers[#answers + 1] = kept
        answers[#answers + 1] = holder
    else
        stored[#stored + 1] = single
    end
end
local excess = excess_queue(names, tonumber(ARGV[9]))
if excess then
    return {'queues', excess}
end

-- From here on it only writes.
set_document(kind, name, version + 1, ARGV[6])
learn_queues(names)
local ready = {}
for _, single in ipairs(stored) do
    store_single(single, now, ready)
end
for queue, count in pairs(ready) do
    wake(queue, count, 0)
end
return {'ok', version + 1, out_count, out_bytes, unpack(answers)}
