-- use: clock document
-- Compare and set of something small. ARGV: kind, name, version it replaces (0: it is new), 'put' or 'remove', data,
-- name and version of a document of the same kind that must stand beside it (name empty: none)
-- Reply: the new version (a removal: 1); 0: another version is there, or none, or the one beside it has changed
local kind, name, version = ARGV[1], ARGV[2], tonumber(ARGV[3])
if document_version(kind, name) ~= version or (ARGV[4] == 'remove' and version == 0) then
    return 0
end
if ARGV[6] ~= '' and document_version(kind, ARGV[6]) ~= tonumber(ARGV[7]) then
    return 0
end
-- New ones begin above all that were removed: whoever knows the former one of the same name must see that this is another.
local removed = tonumber(call('HGET', P .. 'removed', kind) or 0)
if ARGV[4] == 'remove' then
    call('HSET', P .. 'removed', kind, string.format('%.0f', math.max(removed, version)))
    return call('HDEL', P .. 'doc:' .. kind, name)
end
return set_document(kind, name, (version == 0 and removed or version) + 1, ARGV[5])
