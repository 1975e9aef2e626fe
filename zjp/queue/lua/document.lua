-- use: clock
-- Compare and set of something small. ARGV: kind, name, version it replaces (0: it is new), 'put' or 'remove', data
-- Reply: the new version (a removal: 1); 0: another version is there, or none
local key = P .. 'doc:' .. ARGV[1]
local version = tonumber(ARGV[3])
local known = call('HGET', key, ARGV[2])
local installed = known and tonumber(string.match(known, '^(%d+):')) or 0
if installed ~= version or (ARGV[4] == 'remove' and not known) then
    return 0
end
if ARGV[4] == 'remove' then
    return call('HDEL', key, ARGV[2])
end
call('HSET', key, ARGV[2], string.format('%.0f', version + 1) .. ':' .. ARGV[5])
return version + 1
