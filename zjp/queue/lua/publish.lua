-- use: clock
-- What a life serves; what others left behind goes. ARGV: life, tasks*. Reply: what the lives that are registered serve, some perhaps twice.
local tasks = {}
for at = 2, #ARGV do
    tasks[#tasks + 1] = ARGV[at]
end
call('HSET', P .. 'serves', ARGV[1], table.concat(tasks, '\n'))
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
