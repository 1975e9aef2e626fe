-- use: clock level
-- Have a node told when these become final. What is not live is not registered: the caller reads the state afterwards.
-- ARGV: life, ids*
for at = 2, #ARGV do
    local value = call('HGET', P .. 'j', ARGV[at])
    if value and byte(value) ~= FINISHED then
        local lives = call('HGET', P .. 'w', ARGV[at])
        if not lives then
            call('HSET', P .. 'w', ARGV[at], ARGV[1])
        elseif not string.find('\n' .. lives .. '\n', '\n' .. ARGV[1] .. '\n', 1, true) then
            call('HSET', P .. 'w', ARGV[at], lives .. '\n' .. ARGV[1])
        end
    end
end
return 1
