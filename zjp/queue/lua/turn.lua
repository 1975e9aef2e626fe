-- use: clock
-- Whose turn it is to move the outbox. ARGV: life, ms. Reply: 1 when it is this life's, for so long from now.
local holder = call('GET', P .. 'turn')
if holder and holder ~= ARGV[1] then
    return 0
end
call('SET', P .. 'turn', ARGV[1], 'PX', ARGV[2])
return 1
