-- End a live job as cancelled, in place: its record is built around the stored job, which nobody has to decode.
-- Losses noted beside it stay there until the record is removed, or the job runs again. Returns the bytes of the record.
local function end_cancelled(id, value, now)
    local high, low, key_high, key_low = byte(value, 7, 10)
    local from = 11 + high * 256 + low
    local key_end = from + key_high * 256 + key_low
    if key_end > from then
        local key = sub(value, from, key_end - 1)
        if call('HGET', P .. 'uq', key) == id then
            call('HDEL', P .. 'uq', key)
        end
    end
    local record = '\149' .. sub(value, key_end) .. '\169cancelled' .. u64(now) .. '\196\0\192'
    call('HDEL', P .. 'progress', id)
    call('SREM', P .. 'cancelling', id)
    call('HSET', P .. 'j', id, 'f' .. sub(value, 2, 5) .. record)
    call('RPUSH', P .. 'out', id)
    call('HINCRBY', P .. 'n', 'o', 1)
    call('HINCRBY', P .. 'n', 'b', #record)
    return #record
end
