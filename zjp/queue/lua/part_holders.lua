-- Which of many sets of ids (claims, mostly) holds which of some ids.
local function keys_of(set)
    local keys = {}
    for key in pairs(set) do
        keys[#keys + 1] = key
    end
    return keys
end

-- Ids -> the name of the set they are in. `sought`: the ids as keys; who is found leaves it. A set's key is `kind` .. its name.
-- Each set is asked once for all ids that are still sought, or for all that it holds, whichever is less.
local function find_holders(sought, kind, names)
    local holders, ids = {}, keys_of(sought)
    local left = #ids
    local function find(id, name)
        holders[id], sought[id], left, ids = name, nil, left - 1, nil
    end
    for _, name in ipairs(left > 0 and names or {}) do
        local key = P .. kind .. name
        if left > 1 and call('SCARD', key) <= left then
            for _, id in ipairs(call('SMEMBERS', key)) do
                if sought[id] then
                    find(id, name)
                end
            end
        elseif left == 1 then
            local id = next(sought)
            if call('SISMEMBER', key, id) == 1 then
                find(id, name)
            end
        else
            ids = ids or keys_of(sought)
            local asked = ids
            for from = 1, #asked, 500 do
                for at, is_here in ipairs(call('SMISMEMBER', key, unpack(asked, from, math.min(from + 499, #asked)))) do
                    if is_here == 1 then
                        find(asked[from + at - 1], name)
                    end
                end
            end
        end
        if left == 0 then
            break
        end
    end
    return holders
end
