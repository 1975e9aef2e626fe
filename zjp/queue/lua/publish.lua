-- use: clock
-- What a life serves; what others left behind goes. ARGV: life, words*: a task type, behind tabs the queues it is served in, unless these are all.
-- Types alone stand apart, for nodes of before. Reply: what the lives that are registered serve, some perhaps twice.
local words, types = {}, {}
for at = 2, #ARGV do
    words[#words + 1] = ARGV[at]
    types[#types + 1] = string.match(ARGV[at], '^[^\t]*')
end
call('HSET', P .. 'serves', ARGV[1], table.concat(types, '\n'))
call('HSET', P .. 'served', ARGV[1], table.concat(words, '\n'))
local told = {}
local found = call('HGETALL', P .. 'serves')
for at = 1, #found, 2 do
    local life = found[at]
    if call('HEXISTS', P .. 'lives', life) == 1 then
        for word in string.gmatch(call('HGET', P .. 'served', life) or found[at + 1], '[^\n]+') do
            told[#told + 1] = word
        end
    else
        call('HDEL', P .. 'serves', life)
        call('HDEL', P .. 'served', life)
    end
end
return told
