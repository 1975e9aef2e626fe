-- use: clock
-- Give the registration up: whoever looks next takes back what this life still holds. ARGV: life
if call('ZSCORE', P .. 'nodes', ARGV[1]) then
    call('ZADD', P .. 'nodes', 0, ARGV[1])
end
local node, boot = string.match(ARGV[1], '^(.*):(%d+)$')
if node and call('HGET', P .. 'boots', node) == boot then -- else the name is a later life's
    call('HDEL', P .. 'homes', node)
end
return 1
