-- use: clock level later
-- Delayed jobs behind a place, in order. ARGV: due time, id, limit. Reply: (id, due time)*
local from = rank_behind(tonumber(ARGV[1]), ARGV[2])
return call('ZRANGE', P .. 'd', from, from + tonumber(ARGV[3]) - 1, 'WITHSCORES')
