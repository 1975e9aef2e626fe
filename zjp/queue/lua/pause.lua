-- use: clock level wake
-- ARGV: queue, '1' pause or '0' resume, queues max. Reply: version, or -1: too many queues
if call('SISMEMBER', P .. 'queues', ARGV[1]) == 0 then
    if call('SCARD', P .. 'queues') >= tonumber(ARGV[3]) then
        return -1
    end
    call('SADD', P .. 'queues', ARGV[1])
end
call(ARGV[2] == '1' and 'SADD' or 'SREM', P .. 'paused', ARGV[1])
if ARGV[2] == '0' then
    wake(ARGV[1], 100000, 0)
end
if call('HEXISTS', P .. 'n', 'v') == 0 then
    call('HSET', P .. 'n', 'v', 1)
end
return call('HINCRBY', P .. 'n', 'v', 1)
