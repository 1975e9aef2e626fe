-- use: clock level
-- What is known of some ids, in one moment. ARGV: ids, 500 at most
-- Reply: (value or '', place: '' ready, 'd' delayed, else fence; life; is being cancelled; lost; progress)*
-- Each claim is asked once for all ids that are still looked for, or for all that it holds, whichever is less.
local values = call('HMGET', P .. 'j', unpack(ARGV))
local places, sought, left, ids = {}, {}, 0, nil
for at, id in ipairs(ARGV) do
    if values[at] and byte(values[at]) ~= FINISHED then
        if call('ZSCORE', P .. 'd', id) then
            places[id] = 'd'
        elseif not sought[id] then
            sought[id], left = true, left + 1
        end
    end
end

local function keys_of(set)
    local keys = {}
    for key in pairs(set) do
        keys[#keys + 1] = key
    end
    return keys
end

local function find(id, fence)
    places[id], sought[id], left, ids = fence, nil, left - 1, nil
end

for _, fence in ipairs(left > 0 and call('HKEYS', P .. 'claims') or {}) do
    local key = P .. 'c:' .. fence
    if left > 1 and call('SCARD', key) <= left then
        for _, id in ipairs(call('SMEMBERS', key)) do
            if sought[id] then
                find(id, fence)
            end
        end
    elseif left == 1 then
        local id = next(sought)
        if call('SISMEMBER', key, id) == 1 then
            find(id, fence)
        end
    else
        ids = ids or keys_of(sought)
        local asked = ids
        for at, is_here in ipairs(call('SMISMEMBER', key, unpack(asked))) do
            if is_here == 1 then
                find(asked[at], fence)
            end
        end
    end
    if left == 0 then
        break
    end
end

local function noted(key)
    return call('EXISTS', P .. key) == 1 and call('HMGET', P .. key, unpack(ARGV)) or {}
end

local has_marks = call('EXISTS', P .. 'cancelling') == 1
local lost, progress = noted('lost'), noted('progress')
local lives, reply = {}, {}
for at, id in ipairs(ARGV) do
    local value, place, life, marked = values[at], places[id] or '', '', 0
    if place ~= '' and place ~= 'd' then
        lives[place] = lives[place] or string.match(call('HGET', P .. 'claims', place), '^[^\n]*')
        life, marked = lives[place], has_marks and call('SISMEMBER', P .. 'cancelling', id) or 0
    end
    local is_live = value and byte(value) ~= FINISHED
    reply[at] = {value or '', place, life, marked, value and lost[at] or '', is_live and progress[at] or ''}
end
return reply
