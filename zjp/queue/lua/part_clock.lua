-- The store's time in ms. Scripts know no other.
local P = KEYS[1]
local call = redis.call
local function clock()
    local time = call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end
