-- use: clock level wake records
-- Outcomes of claimed jobs. Each counts only while its claim, which must be this life's, still holds that job: a server that knows less
-- than its predecessor did, by a clock that is behind, may give a fence out again. What is finished stays in `j` and goes into the outbox,
-- or, where the records are kept here as well, leaves `j` and is a record in the same step.
-- ARGV: life, number of this call, is it a repeat, most records here (0: none are), but for those younger than so many ms,
--       sections: n x (fence, queue, size, count, count x (id, value)), no id twice; value: 'f' run record, or mark run record, all of
--                 one mark; size: what the claim holds by then as far as the caller knows, these among it, or 0. A claim only ever loses
--                 jobs, all of them but for what its node finishes or keeps: so one of that size holds these.
--       singles: n x (fence, kind, id, value, level, delay ms, unique key); kinds: t retry, s snooze, r release, f finish,
--                x finish although it is being cancelled
-- Reply: {refused ids, ids that are being cancelled and must end so, outbox count, bytes, has released or delayed}
local ARGV = ARGV -- a global is looked up by its name each time
local life = ARGV[1]
local now = clock()
local at = 6
local records_max = tonumber(ARGV[4])
local R = P .. 'records:'
local function take()
    at = at + 1
    return ARGV[at - 1]
end
if ARGV[3] == '1' then -- the answer may have been lost: then it is given again
    local answer = call('HGET', P .. 'calls', life)
    local number, size, ids = string.match(answer or '', '^(%d+):(%d+):(.*)$')
    if number == ARGV[2] then
        local told = {{}, {}}
        for place = 1, #ids, 16 do
            local list = place <= tonumber(size) * 16 and told[1] or told[2]
            list[#list + 1] = sub(ids, place, place + 15)
        end
        local held = call('HMGET', P .. 'n', 'o', 'b')
        return {told[1], told[2], tonumber(held[1] or 0), tonumber(held[2] or 0), 1}
    end
end

local refused, cancelling, done = {}, {}, {}
local is_waited_for = call('EXISTS', P .. 'w') == 1
local rare = call('EXISTS', P .. 'lost', P .. 'progress', P .. 'cancelling')
local added, added_bytes = 0, 0

local ours = {}
local function is_ours(fence)
    if ours[fence] == nil then
        ours[fence] = call('HEXISTS', P .. 'open:' .. life, fence) == 1
    end
    return ours[fence]
end

local function close_claim(fence)
    if call('EXISTS', P .. 'c:' .. fence) == 0 then
        call('HDEL', P .. 'claims', fence)
        call('HDEL', P .. 'open:' .. life, fence)
    end
end

-- What is finished: among the records, then out of the queue, and only then out of its claim: so that what breaks in between costs no job.
-- `pairs_` from `first` to `last`: id, value.
local function keep_here(ids, pairs_, first, last)
    local mark = sub(pairs_[first + 1], 1, MARK)
    put_records(R, take_rows(R, #ids), mark, now, ids, pairs_, first, last)
    call('HDEL', P .. 'j', unpack(ids))
    if call('EXISTS', P .. 'again') == 1 then
        call('SREM', P .. 'again', unpack(ids))
    end
end

local function put_out(ids, pairs_, first, last)
    call('HSET', P .. 'j', unpack(pairs_, first, last))
    call('RPUSH', P .. 'out', unpack(ids))
    added = added + #ids
    for place = first + 1, last, 2 do
        added_bytes = added_bytes + #pairs_[place] - 5
    end
end

local function forget(ids)
    call('HDEL', P .. 'lost', unpack(ids))
    call('HDEL', P .. 'progress', unpack(ids))
end

local function finish_chunk(fence, queue, count, size)
    local key, from = P .. 'c:' .. fence, at
    local ids = {}
    for number = 1, count do
        ids[number] = ARGV[from + 2 * number - 2]
    end
    at = from + 2 * count
    if not is_ours(fence) then
        for number = 1, count do
            refused[#refused + 1] = ids[number]
        end
        return
    end
    local are_all, held, marked = rare == 0 and size > 0 and call('SCARD', key) == size, nil, nil
    if not are_all then
        held = call('SMISMEMBER', key, unpack(ids))
        marked = rare > 0 and call('SMISMEMBER', P .. 'cancelling', unpack(ids))
        are_all = true
        for number = 1, count do
            if held[number] == 0 or (marked and marked[number] == 1) then
                are_all = false
                break
            end
        end
    end
    local pairs_first, pairs_last, pairs_of = from, at - 1, ARGV
    if not are_all then
        local kept, pairs_ = {}, {}
        for number = 1, count do
            local value = ARGV[from + 2 * number - 1]
            if held[number] == 1 and not (marked and marked[number] == 1) then
                kept[#kept + 1] = ids[number]
                pairs_[#pairs_ + 1] = ids[number]
                pairs_[#pairs_ + 1] = value
            else
                local list = held[number] == 1 and cancelling or refused
                list[#list + 1] = ids[number]
            end
        end
        if #kept == 0 then
            return
        end
        ids, pairs_of, pairs_first, pairs_last = kept, pairs_, 1, #pairs_
    end
    local place = records_max > 0 and keep_here or put_out
    place(ids, pairs_of, pairs_first, pairs_last)
    if are_all and count == call('SCARD', key) then
        call('DEL', key)
    else
        call('SREM', key, unpack(ids))
    end
    call('HINCRBY', P .. 'n', 'r:' .. queue, -#ids)
    if rare > 0 then
        forget(ids)
    end
    if is_waited_for then
        for number = 1, #ids do
            done[#done + 1] = ids[number]
        end
    end
end

for _ = 1, tonumber(take()) do
    local fence, queue, size, count = take(), take(), tonumber(take()), tonumber(take())
    for from = 0, count - 1, 500 do
        finish_chunk(fence, queue, math.min(500, count - from), size - from)
    end
    close_claim(fence)
end

local released = {}
local has_delayed = 0
for _ = 1, tonumber(take()) do
    local fence, kind, id, value, level, delay, unique = take(), take(), take(), take(), take(), tonumber(take()), take()
    local is_marked = call('SISMEMBER', P .. 'cancelling', id) == 1
    if not is_ours(fence) or call('SISMEMBER', P .. 'c:' .. fence, id) == 0 then
        refused[#refused + 1] = id
    elseif is_marked and kind ~= 'x' then
        cancelling[#cancelling + 1] = id
    else
        local queue = sub(level, 2)
        call('SREM', P .. 'c:' .. fence, id)
        call('HDEL', P .. 'lost', id)
        call('HDEL', P .. 'progress', id)
        call('SREM', P .. 'cancelling', id)
        call('HINCRBY', P .. 'n', 'r:' .. queue, -1)
        if kind == 'r' then
            call('HSET', P .. 'j', id, value)
            give_back(id, level, now)
            released[queue] = (released[queue] or 0) + 1
        elseif kind == 't' or kind == 's' then
            call('HSET', P .. 'j', id, value)
            call('ZADD', P .. 'd', now + delay, id)
            call('HINCRBY', P .. 'n', (kind == 't' and 't:' or 's:') .. queue, 1)
            released[queue] = released[queue] or 1 -- who sleeps until a later due time must wake
            has_delayed = 1
        else
            if unique ~= '' and call('HGET', P .. 'uq', unique) == id then
                call('HDEL', P .. 'uq', unique)
            end
            local place = records_max > 0 and kind == 'f' and keep_here or put_out
            place({id}, {id, value}, 1, 2)
            done[#done + 1] = id
        end
        close_claim(fence)
    end
end
for queue, jobs in pairs(released) do
    wake(queue, jobs, 0)
    has_delayed = 1
end
if records_max > 0 then
    trim_after_put(R, records_max, tonumber(ARGV[5]))
end
local out_count, out_bytes
if added > 0 then
    out_count = call('HINCRBY', P .. 'n', 'o', added)
    out_bytes = call('HINCRBY', P .. 'n', 'b', added_bytes)
else
    local held = call('HMGET', P .. 'n', 'o', 'b')
    out_count, out_bytes = tonumber(held[1] or 0), tonumber(held[2] or 0)
end
tell(done)
if call('HEXISTS', P .. 'lives', life) == 1 then -- else all was refused, as a repeat will be, and nobody would take it away
    call('HSET', P .. 'calls', life, ARGV[2] .. ':' .. #refused .. ':' .. table.concat(refused) .. table.concat(cancelling))
end
return {refused, cancelling, out_count, out_bytes, has_delayed}
