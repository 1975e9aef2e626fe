-- use: keys records
-- Remove up to `limit` records that finished before a time, those that came first; where none of those is left, some of what is too much.
-- ARGV: before ms, limit, at most, but for those younger than so many ms. Reply: how many
local limit = tonumber(ARGV[2])
local due = call('ZRANGEBYSCORE', P .. 'times', '-inf', '(' .. ARGV[1], 'LIMIT', 0, limit + 500)
table.sort(due, function(one, other) return tonumber(one) < tonumber(other) end)
local count = 0
for _, place in ipairs(due) do
    if count == limit then
        break
    end
    count = count + drop_records(P, call('ZRANGEBYSCORE', P .. 'rows', place, place)[1], place, limit - count)
end
if count < limit then
    count = count + trim_records(P, tonumber(ARGV[3]), tonumber(ARGV[4]), limit - count)
end
return count
