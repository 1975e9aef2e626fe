-- use: clock level
-- What is known of some ids, in one moment. ARGV: ids
-- Reply: (value or '', place: '' ready, 'd' delayed, else fence; life; is being cancelled; lost; progress)*
local fences = call('HKEYS', P .. 'claims')
local has_marks = call('EXISTS', P .. 'cancelling') == 1
local reply = {}
for _, id in ipairs(ARGV) do
    local value = call('HGET', P .. 'j', id)
    local place, life, marked, lost, progress = '', '', 0, '', ''
    if value and byte(value) ~= FINISHED then
        if call('ZSCORE', P .. 'd', id) then
            place = 'd'
        else
            for _, fence in ipairs(fences) do
                if call('SISMEMBER', P .. 'c:' .. fence, id) == 1 then
                    place, life = fence, string.match(call('HGET', P .. 'claims', fence), '^[^\n]*')
                    marked = has_marks and call('SISMEMBER', P .. 'cancelling', id) or 0
                    break
                end
            end
        end
        progress = call('HGET', P .. 'progress', id) or ''
    end
    lost = value and call('HGET', P .. 'lost', id) or ''
    reply[#reply + 1] = {value or '', place, life, marked, lost, progress}
end
return reply
