-- use: clock
-- What a life serves. ARGV: life, tasks*.
local tasks = {}
for at = 2, #ARGV do
    tasks[#tasks + 1] = ARGV[at]
end
call('HSET', P .. 'serves', ARGV[1], table.concat(tasks, '\n'))
return 1
