-- Claims of lives that are over. Lapsing renames the claim, so that from then on every outcome under it is refused; its jobs go back in
-- bounded steps that any node may take.
local PASS_MS = 3000
-- Between two passes of all nodes together there is less, unless the store was away. Silence before the end of such a gap proves nothing.
local GAP_MS = 1500

local function lapse(life)
    for _, fence in ipairs(call('HKEYS', P .. 'open:' .. life)) do
        if fence ~= 'last' and call('EXISTS', P .. 'c:' .. fence) == 1 then
            call('RENAME', P .. 'c:' .. fence, P .. 'l:' .. fence)
            call('RPUSH', P .. 'lapsed', fence)
        end
    end
    call('DEL', P .. 'open:' .. life)
    call('ZREM', P .. 'nodes', life)
    call('HDEL', P .. 'lives', life)
    call('HDEL', P .. 'calls', life)
    call('HDEL', P .. 'seen', life)
end

-- One lost attempt as the node that claims the job next adds it: length (2), suspicion (1), msgpack array of Attempt's fields.
local function note_loss(id, fence, life, claimed_ms, now, suspicion)
    local node = string.match(life, '^(.*):%d+$') or life
    local attempt = '\151' .. u64(tonumber(fence)) .. '\218' .. string.char(math.floor(#node / 256), #node % 256) .. node
        .. '\160' .. u64(tonumber(claimed_ms)) .. u64(now) .. '\164lost\192'
    local size = #attempt + 1
    local entry = string.char(math.floor(size / 256), size % 256, suspicion) .. attempt
    call('HSET', P .. 'lost', id, (call('HGET', P .. 'lost', id) or '') .. entry)
end

-- A job that a claim of `life` held and no longer does goes back, with the loss noted; one that was being cancelled ends, and its id joins
-- `ended`. `woken`: queue -> jobs made ready. Returns whether it was live.
local function take_back(id, fence, life, claimed_ms, now, ended, woken)
    local value = call('HGET', P .. 'j', id)
    if not value or byte(value) == FINISHED then
        return false
    end
    local level = level_of(value)
    local queue = sub(level, 2)
    call('HINCRBY', P .. 'n', 'r:' .. queue, -1)
    note_loss(id, fence, life, claimed_ms, now, 0)
    if call('SISMEMBER', P .. 'cancelling', id) == 1 then
        end_cancelled(id, value, now)
        ended[#ended + 1] = id
    else
        give_back(id, level, now)
        woken[queue] = (woken[queue] or 0) + 1
    end
    return true
end

-- Whose a claim is or was, and since when: life, ms.
local function claimant(fence)
    return string.match(call('HGET', P .. 'claims', fence) or 'unknown:0\n0\n', '^([^\n]*)\n(%d+)')
end

-- Give back up to `limit` jobs of lapsed claims. Returns how many, and the ids that ended because they were being cancelled.
local function return_lapsed(now, limit, ended)
    local count, woken = 0, {}
    while count < limit do
        local fence = call('LINDEX', P .. 'lapsed', 0)
        if not fence then
            break
        end
        local ids = call('SPOP', P .. 'l:' .. fence, math.min(limit - count, 500))
        local life, claimed_ms = claimant(fence)
        for _, id in ipairs(ids) do
            take_back(id, fence, life, claimed_ms, now, ended, woken)
        end
        count = count + #ids
        if call('EXISTS', P .. 'l:' .. fence) == 0 then
            call('LPOP', P .. 'lapsed')
            call('HDEL', P .. 'claims', fence)
        end
    end
    for queue, jobs in pairs(woken) do
        wake(queue, jobs, 0)
    end
    return count
end

-- The longest gap between two passes that cannot have cost one of these lives its lease. Each may have another lease than whoever looks:
-- what it was given when it was last seen, of which two thirds are left when its next renewal is due. Who gave his registration up has none.
local function gap_max(lives, lease_ms)
    local most = math.min(PASS_MS, lease_ms / 2)
    for _, life in ipairs(lives) do
        local ends, seen = tonumber(call('ZSCORE', P .. 'nodes', life)), tonumber(call('HGET', P .. 'seen', life) or 0)
        if seen > 0 and ends > seen then
            most = math.min(most, 0.6 * (ends - seen))
        end
    end
    return most
end

-- A pass that finds the last one long ago, or in the future, was away itself (or the store was): nobody may be reaped for that. Long is
-- less for a short lease, which a store that was away for less than PASS_MS could have cost its holder.
local function reap(now, limit, lease_ms, may_reap, ended)
    local last = tonumber(call('HGET', P .. 'n', 'p') or now)
    call('HSET', P .. 'n', 'p', now)
    if now - last > GAP_MS or now < last then
        call('HSET', P .. 'n', 'g', now)
    end
    local late = call('ZRANGEBYSCORE', P .. 'nodes', '-inf', '(' .. now, 'LIMIT', 0, 100)
    if now < last or now - last > gap_max(late, lease_ms) then
        for _, life in ipairs(call('ZRANGE', P .. 'nodes', 0, -1)) do
            call('ZADD', P .. 'nodes', now < last and 'CH' or 'GT', now + lease_ms, life) -- no lease becomes shorter but by the clock
        end
    elseif may_reap then
        for _, life in ipairs(late) do
            lapse(life)
        end
    end
    return return_lapsed(now, limit, ended)
end
