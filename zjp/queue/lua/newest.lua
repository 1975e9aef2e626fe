-- use: clock level
-- The newest of the oldest finished jobs. An entry counts while its job is finished here, and is the last one of its id.
-- ARGV: how many entries are older than what was seen last, most entries to look at, about as many as searches may compare
-- Reply: {how many are older than those looked at, how many those are, values (state, run, record), how many are older than each of those,
--         (number, losses)*}
local older = math.min(tonumber(ARGV[1]), call('LLEN', P .. 'out'))
local from, compares_max = math.max(0, older - tonumber(ARGV[2])), tonumber(ARGV[3])
local ids = older > 0 and call('LRANGE', P .. 'out', from, older - 1) or {}
local found = #ids > 0 and call('HMGET', P .. 'j', unpack(ids)) or {}
local length, compared = call('LLEN', P .. 'out'), 0
local has_losses, has_twice = call('EXISTS', P .. 'lost') == 1, call('EXISTS', P .. 'again') == 1
local values, places, rare = {}, {}, {}

-- Of a job that ran again; nil: the search would be too long for this call.
local function is_last(id, index)
    if not has_twice or call('SISMEMBER', P .. 'again', id) == 0 then
        return true
    end
    local cost = length - index
    if compared > 0 and compared + cost > compares_max then
        return nil
    end
    compared = compared + cost
    return call('LPOS', P .. 'out', id, 'rank', -1, 'maxlen', cost) == index
end

for at = #ids, 1, -1 do
    local id, value, index = ids[at], found[at], from + at - 1
    local counts = value and byte(value) == FINISHED
    if counts then
        counts = is_last(id, index)
        if counts == nil then
            from = index + 1
            break
        end
    end
    if counts then
        values[#values + 1], places[#places + 1] = value, index
        local lost = has_losses and call('HGET', P .. 'lost', id)
        if lost then
            rare[#rare + 1], rare[#rare + 2] = #values, lost
        end
    end
end
return {from, older - from, values, places, rare}
