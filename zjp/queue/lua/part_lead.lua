-- The leadership as installed.
local function installed_lead()
    local held = call('HMGET', P .. 'lead', 'epoch', 'owner', 'until')
    return {epoch = tonumber(held[1] or 0), owner = held[2] or '', till = tonumber(held[3] or 0)}
end

-- Nil when that leader may do its duties now; else the reply that refuses it.
local function refusal(owner, epoch, now)
    local lead = installed_lead()
    if lead.owner == owner and lead.epoch == tonumber(epoch) and lead.till > now then
        return nil
    end
    return {'fenced', lead.epoch, lead.owner, math.max(0, lead.till - now)}
end
