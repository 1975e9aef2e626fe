-- use: clock level holders
-- What is known of some ids, in one moment. ARGV: ids, 500 at most
-- Reply: (value or '', place: '' ready, 'd' delayed, else fence; life; is being cancelled; lost; progress)*
local values = call('HMGET', P .. 'j', unpack(ARGV))
local later, sought = {}, {}
for at, id in ipairs(ARGV) do
    if values[at] and byte(values[at]) ~= FINISHED then
        if call('ZSCORE', P .. 'd', id) then
            later[id] = true
        else
            sought[id] = true
        end
    end
end
local claims = next(sought) and find_holders(sought, 'c:', call('HKEYS', P .. 'claims')) or {}

local function noted(key)
    return call('EXISTS', P .. key) == 1 and call('HMGET', P .. key, unpack(ARGV)) or {}
end

local has_marks = call('EXISTS', P .. 'cancelling') == 1
local lost, progress = noted('lost'), noted('progress')
local lives, reply = {}, {}
for at, id in ipairs(ARGV) do
    local value, place, life, marked = values[at], later[id] and 'd' or claims[id] or '', '', 0
    if place ~= '' and place ~= 'd' then
        lives[place] = lives[place] or string.match(call('HGET', P .. 'claims', place), '^[^\n]*')
        life, marked = lives[place], has_marks and call('SISMEMBER', P .. 'cancelling', id) or 0
    end
    local is_live = value and byte(value) ~= FINISHED
    reply[at] = {value or '', place, life, marked, value and lost[at] or '', is_live and progress[at] or ''}
end
return reply
