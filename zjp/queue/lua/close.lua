-- use: clock
-- Give the registration up: whoever looks next takes back what this life still holds. ARGV: life
if call('ZSCORE', P .. 'nodes', ARGV[1]) then
    call('ZADD', P .. 'nodes', 0, ARGV[1])
end
local node = string.match(ARGV[1], '^(.*):%d+$')
if node then
    call('HDEL', P .. 'homes', node)
end
return 1
