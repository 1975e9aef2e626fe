-- use: clock
-- A write for WAIT to wait for, after a repeat whose jobs were found. Reply: now
local now = clock()
call('SET', P .. 'confirmed', string.format('%.0f', now))
return now
