-- use: keys records
-- Records in the order they come; one with the id of another takes its place only if its run is higher.
-- ARGV: at most, but for those younger than so many ms; (id, run (4 bytes), finished ms, record)*
local ids, found, batch_ms = {}, {}, nil
local function flush()
    if #ids > 0 then
        local row = take_rows(P, #ids)
        local mark = struct.pack('>c1I7', 'r', row) -- those of claims begin with a zero byte
        local pairs_ = {}
        for at, id in ipairs(ids) do
            pairs_[2 * at - 1] = id
            pairs_[2 * at] = mark .. found[at]
        end
        put_records(P, row, mark, batch_ms, ids, pairs_, 1, #pairs_)
        ids, found = {}, {}
    end
end
local seen = {}
for at = 3, #ARGV, 4 do
    local id, run, ms = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local had = seen[id]
    if not had then
        local known = call('HGET', P .. 'r', id)
        had = known and string.sub(known, MARK + 1, MARK + 4)
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
        if ms ~= batch_ms or #ids == 500 or seen[id] then
            flush()
        end
        seen[id], batch_ms = run, ms
        ids[#ids + 1] = id
        found[#found + 1] = run .. ARGV[at + 3]
    end
end
flush()
trim_after_put(P, tonumber(ARGV[1]), tonumber(ARGV[2]))
return 1
