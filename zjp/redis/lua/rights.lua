-- Commands, each tried as the user who calls. ARGV: n x (count, word*). Reply: what the server said against it, or ''
local at, answers = 1, {}
while at <= #ARGV do
    local last = at + tonumber(ARGV[at])
    local answer = redis.pcall(unpack(ARGV, at + 1, last))
    answers[#answers + 1] = type(answer) == 'table' and answer.err or ''
    at = last + 1
end
return answers
