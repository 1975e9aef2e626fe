-- What cancelled jobs left in the lists of a queue, by reckoning: what stands there beyond the jobs that are ready. `sweeps` has it for
-- whoever sweeps; a cancel adds to it by itself, so this is for what was left before anybody did.
local function note_remains(queue)
    for priority = 1, 10 do
        local level = string.char(priority) .. queue
        local length = call('LLEN', P .. 'q:' .. level)
        if length > 0 then
            local ready = tonumber(call('HGET', P .. 'ready', level) or 0)
            local left = length + call('ZCARD', P .. 'back:' .. level) - ready
            if left > 0 then
                call('HSET', P .. 'sweeps', level, left)
            end
        end
    end
end
