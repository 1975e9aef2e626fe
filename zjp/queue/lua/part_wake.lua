-- Hint idle nodes that `jobs` jobs of a queue are ready: one for each 500, those that serve it by name first. `woken`: known to be awake.
local function wake(queue, jobs, woken)
    local left = math.ceil(jobs / 500) - woken
    for _, name in ipairs({queue, '*'}) do
        while left > 0 do
            local life = call('SPOP', P .. 'idle:' .. name)
            if not life then
                break
            end
            if call('PUBLISH', P .. 'life:' .. life, 'r') > 0 then
                left = left - 1
            end
        end
    end
end

-- Tell the nodes that wait for one of these ids that it is final.
local function tell(ids)
    if #ids == 0 or call('HLEN', P .. 'w') == 0 then
        return
    end
    local told = {}
    for at = 1, #ids, 500 do
        local waiting = call('HMGET', P .. 'w', unpack(ids, at, math.min(at + 499, #ids)))
        for offset, lives in ipairs(waiting) do
            if lives then
                local id = ids[at + offset - 1]
                call('HDEL', P .. 'w', id)
                for life in string.gmatch(lives, '[^\n]+') do
                    told[life] = (told[life] or 'f') .. id
                end
            end
        end
    end
    for life, message in pairs(told) do
        call('PUBLISH', P .. 'life:' .. life, message)
    end
end
