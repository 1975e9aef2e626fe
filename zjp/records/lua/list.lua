-- use: keys records
-- Some places below a row, newest first. ARGV: row (exclusive), how many. Reply: {rows, values; '' where no record is any more}
local below, left = tonumber(ARGV[1]), tonumber(ARGV[2])
local rows, values = {}, {}
local is_last = false
while left > 0 and not is_last do
    local found = call('ZREVRANGEBYSCORE', P .. 'rows', string.format('(%.0f', below), '-inf', 'WITHSCORES', 'LIMIT', 0, math.min(left, 20))
    is_last = #found == 0
    for number = 1, left > 0 and #found or 0, 2 do
        local batch, row = found[number], tonumber(found[number + 1])
        local last = math.min((#batch - MARK) / 16, below - row)
        local first = math.max(1, last - left + 1)
        local mark, ids = string.sub(batch, 1, MARK), ids_of(batch, first, last)
        local got = #ids > 0 and call('HMGET', P .. 'r', unpack(ids)) or {}
        for at = #ids, 1, -1 do
            local value = got[at]
            rows[#rows + 1] = row + first + at - 2
            values[#values + 1] = value and string.sub(value, 1, MARK) == mark and value or ''
        end
        left, below = left - #ids, row + first - 1
    end
end
return {rows, values}
