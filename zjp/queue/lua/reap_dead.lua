-- use: clock level wake end reap lead
-- A step of the leader: end a life whose node the others hold dead, if it is silent here as well.
-- ARGV: owner, epoch, life, silent ms, lease ms, limit
-- Reply: {'fenced', epoch, owner, ms left} | {'ok', 1 it was ended or 0, jobs given back, ended ids, count, bytes}
local now = clock()
local refused = refusal(ARGV[1], ARGV[2], now)
if refused then
    return refused
end
local life, ended = ARGV[3], {}
reap(now, 0, tonumber(ARGV[5]), false, ended) -- takes note of an outage, in which nobody could renew
local silent_since = math.max(tonumber(call('HGET', P .. 'seen', life) or now), tonumber(call('HGET', P .. 'n', 'g') or 0))
local done, count = 0, 0
if call('HEXISTS', P .. 'lives', life) == 1 and now - silent_since >= tonumber(ARGV[4]) then
    lapse(life)
    done, count = 1, return_lapsed(now, tonumber(ARGV[6]), ended)
    tell(ended)
end
local held = call('HMGET', P .. 'n', 'o', 'b')
return {'ok', done, count, ended, tonumber(held[1] or 0), tonumber(held[2] or 0)}
