-- use: clock level
-- What is known of suspected ids, and the generation of their sessions, to be shown again when they are stored after all.
-- ARGV: sessions n, session*, ids*. Reply: {generations, values or ''}
local generations, values = {}, {}
local count = tonumber(ARGV[1])
for at = 1, count do
    generations[at] = string.match(call('GET', P .. 's:' .. ARGV[1 + at]) or '', ':(%d+)$') or 'none'
end
for at = count + 2, #ARGV do
    values[#values + 1] = call('HGET', P .. 'j', ARGV[at]) or ''
end
return {generations, values}
