-- use: clock remains
-- What a version that did not sweep left in the lists of some queues is noted, to be swept. ARGV: queues
for _, queue in ipairs(ARGV) do
    note_remains(queue)
end
return 1
