-- use: clock
-- What the lives that are registered serve; what others left behind goes. Reply: tasks, some perhaps twice.
local served = {}
local found = call('HGETALL', P .. 'serves')
for at = 1, #found, 2 do
    if call('HEXISTS', P .. 'lives', found[at]) == 1 then
        for name in string.gmatch(found[at + 1], '[^\n]+') do
            served[#served + 1] = name
        end
    else
        call('HDEL', P .. 'serves', found[at])
    end
end
return served
