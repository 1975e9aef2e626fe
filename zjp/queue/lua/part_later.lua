-- The order of `d` is that of due times, and of ids among those that are due in one ms. Whoever goes through it in steps remembers the last
-- one it saw by both: ranks shift as others come and go.
local function is_after(id, other)
    for at = 1, math.min(#id, #other) do
        local mine, its = byte(id, at), byte(other, at)
        if mine ~= its then -- by bytes, as the server orders them: Lua's own `<` goes by the locale
            return mine > its
        end
    end
    return #id > #other
end

-- The rank of the first one behind that place, found by halving: any number may be due in one ms. `id` may be gone, or empty.
local function rank_behind(due, id)
    local low, high = 0, call('ZCARD', P .. 'd')
    while low < high do
        local middle = math.floor((low + high) / 2)
        local one = call('ZRANGE', P .. 'd', middle, middle, 'WITHSCORES')
        local its = tonumber(one[2])
        if its > due or (its == due and is_after(one[1], id)) then
            high = middle
        else
            low = middle + 1
        end
    end
    return low
end
