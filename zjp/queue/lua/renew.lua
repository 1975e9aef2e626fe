-- use: clock level wake end reap
-- Keep the lease of one life, or tell that it was lost (the registration differs) and begin anew.
-- ARGV: life, node, boot, registration, lease ms, may reap, layout, home and address as `homes` has them, progress: (id, data)*
-- Reply: {registration, was kept, version, count, bytes, ids being cancelled, now} | {'taken', address of the later life of this name}
local life, node = ARGV[1], ARGV[2]
local now = clock()
local ended = {}
reap(now, 0, tonumber(ARGV[5]), ARGV[6] == '1', ended)
local held = call('HMGET', P .. 'n', 'v', 'o', 'b')
local boot, latest = tonumber(ARGV[3]), tonumber(call('HGET', P .. 'boots', node) or 0)
local mine = string.match(ARGV[8], '^[^\n]*')
local home, address = string.match(call('HGET', P .. 'homes', node) or '', '^([^\n]*)\n(.*)$')
if latest > boot or (latest == boot and home and home ~= mine) then
    return {'taken', address or ''}
end
if latest < boot or not home then -- the server lost them, and another node of this name would begin as this very life
    call('SET', P .. 'layout', ARGV[7], 'NX') -- first: where there are homes a node that starts looks for it
    call('HSET', P .. 'homes', node, ARGV[8])
    call('HSET', P .. 'boots', node, boot)
end
local registration = call('HGET', P .. 'lives', life)
local kept = registration == ARGV[4] and 1 or 0
if not registration then
    registration = tostring(call('HINCRBY', P .. 'n', 'l', 1))
    call('HSET', P .. 'lives', life, registration)
end
call('ZADD', P .. 'nodes', string.format('%.0f', now + tonumber(ARGV[5])), life)
call('HSET', P .. 'seen', life, now)

local fences = {}
if #ARGV > 8 or call('EXISTS', P .. 'cancelling') == 1 then
    for _, fence in ipairs(call('HKEYS', P .. 'open:' .. life)) do
        if fence ~= 'last' then
            fences[#fences + 1] = fence
        end
    end
end
local function is_mine(id)
    for _, fence in ipairs(fences) do
        if call('SISMEMBER', P .. 'c:' .. fence, id) == 1 then
            return true
        end
    end
    return false
end
for at = 9, #ARGV, 2 do
    if is_mine(ARGV[at]) then
        call('HSET', P .. 'progress', ARGV[at], ARGV[at + 1])
    end
end
local cancelling = {}
if #fences > 0 then
    for _, id in ipairs(call('SMEMBERS', P .. 'cancelling')) do
        if is_mine(id) then
            cancelling[#cancelling + 1] = id
        end
    end
end
return {registration, kept, tonumber(held[1] or 1), tonumber(held[2] or 0), tonumber(held[3] or 0), cancelling, now}
