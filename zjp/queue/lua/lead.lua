-- use: clock lead
-- The leadership: epoch, owner, end by the store's clock. ARGV: 'claim' | 'renew' | 'release', owner, epoch, ms, is elected
-- Reply: {1 done or 0, epoch, owner, ms left}
local now = clock()
local owner, epoch = ARGV[2], tonumber(ARGV[3])
local installed = installed_lead()
local done = 0
if ARGV[1] == 'claim' then
    local has_ended = installed.till <= now or installed.owner == owner or ARGV[5] == '1'
    if epoch > installed.epoch and has_ended then
        installed = {epoch = epoch, owner = owner, till = now + tonumber(ARGV[4])}
        done = 1
    end
elseif installed.owner == owner and installed.epoch == epoch then
    installed.till = ARGV[1] == 'renew' and now + tonumber(ARGV[4]) or 0
    done = 1
end
if done == 1 then
    call('HSET', P .. 'lead', 'epoch', string.format('%.0f', installed.epoch), 'owner', installed.owner, 'until',
        string.format('%.0f', installed.till))
end
return {done, installed.epoch, installed.owner, math.max(0, installed.till - now)}
