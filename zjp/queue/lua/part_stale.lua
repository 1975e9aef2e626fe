-- Entries of cancelled jobs stay in the lists: `stale` counts them by id, `seats` has where the entry of a job that runs again stands.
-- `times`: id -> {left, dropped}. What was dropped of them is gone from the list now.
local function forget_dropped(times)
    local gone = {}
    for id, time in pairs(times) do
        if time.dropped > 0 and time.left == 0 then
            gone[#gone + 1] = id
        elseif time.dropped > 0 then
            call('HINCRBY', P .. 'stale', id, -time.dropped)
        end
    end
    if #gone > 0 then
        call('HDEL', P .. 'stale', unpack(gone))
        call('HDEL', P .. 'seats', unpack(gone))
    end
end
