-- Records in the order they come; one with the id of another takes its place only if its run is higher.
-- ARGV: at most, (id, run (4 bytes), finished ms, record)*. Values: run (4), record.
local P, call = KEYS[1], redis.call
local row = tonumber(call('GET', P .. 'row') or 0)
local count = call('HLEN', P .. 'r')
local pairs_, rows, times = {}, {}, {}
local function flush()
    if #pairs_ > 0 then
        call('HSET', P .. 'r', unpack(pairs_))
        call('ZADD', P .. 'rows', unpack(rows))
        call('ZADD', P .. 'times', unpack(times))
        pairs_, rows, times = {}, {}, {}
    end
end
local seen = {}
for at = 2, #ARGV, 4 do
    local id, run = ARGV[at], ARGV[at + 1]
    local had = seen[id]
    if not had then
        local known = call('HGET', P .. 'r', id)
        had = known and string.sub(known, 1, 4)
        if not known then
            count = count + 1
        end
    end
    local is_higher = not had
    for place = 1, had and 4 or 0 do
        local one, other = string.byte(run, place), string.byte(had, place)
        if one ~= other then
            is_higher = one > other
            break
        end
    end
    if is_higher then
        seen[id] = run
        row = row + 1
        pairs_[#pairs_ + 1] = id
        pairs_[#pairs_ + 1] = run .. ARGV[at + 3]
        rows[#rows + 1] = string.format('%.0f', row)
        rows[#rows + 1] = id
        times[#times + 1] = ARGV[at + 2]
        times[#times + 1] = id
        if #pairs_ >= 1000 then
            flush()
        end
    end
end
flush()
call('SET', P .. 'row', string.format('%.0f', row))
local over = count - tonumber(ARGV[1])
while over > 0 do
    local oldest = call('ZRANGE', P .. 'rows', 0, math.min(over, 500) - 1)
    if #oldest == 0 then
        break
    end
    call('HDEL', P .. 'r', unpack(oldest))
    call('ZREM', P .. 'rows', unpack(oldest))
    call('ZREM', P .. 'times', unpack(oldest))
    over = over - #oldest
end
return 1
