-- Something small beside the jobs, with a version that rises with every change.
local function document_version(kind, name)
    local known = call('HGET', P .. 'doc:' .. kind, name)
    return known and tonumber(string.match(known, '^(%d+):')) or 0
end

local function set_document(kind, name, version, data)
    call('HSET', P .. 'doc:' .. kind, name, string.format('%.0f', version) .. ':' .. data)
    return version
end
