-- use: clock
-- Give the registration up: whoever looks next takes back what this life still holds. ARGV: life, home and address as `homes` has them
local node, boot = string.match(ARGV[1], '^(.*):(%d+)$')
local is_latest = node and call('HGET', P .. 'boots', node) == boot -- else the name is a later life's
local home = string.match(is_latest and call('HGET', P .. 'homes', node) or '', '^([^\n]*)\n')
if home and home ~= string.match(ARGV[2], '^[^\n]*') then -- the server lost this life, and another home's has the number
    return 0
end
if call('ZSCORE', P .. 'nodes', ARGV[1]) then
    call('ZADD', P .. 'nodes', 0, ARGV[1])
end
if is_latest then
    call('HDEL', P .. 'homes', node)
end
return 1
