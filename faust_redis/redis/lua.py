"""Functions that Lua scripts share: a script begins with them."""

from typing import Final

#: is_after: whether one entry id is greater than another; as numbers, since they have no fixed length.
#: facts: what an XINFO says, by name.
#: needed: the id before which every group of a stream has acknowledged everything, and the number of such groups; those
#:   whose name begins with a prefix do not count. Nothing when there is no stream or no group.
FUNCTIONS: Final = r"""
local function is_after(id, other)
  local ms, seq = string.match(id, '(%d+)-(%d+)')
  local other_ms, other_seq = string.match(other, '(%d+)-(%d+)')
  ms, other_ms = tonumber(ms), tonumber(other_ms)
  return ms > other_ms or ms == other_ms and tonumber(seq) > tonumber(other_seq)
end
local function facts(reply)
  local named = {}
  for i = 1, #reply, 2 do named[reply[i]] = reply[i + 1] end
  return named
end
local function needed(stream, spared)
  local groups, first, number = redis.pcall('XINFO', 'GROUPS', stream), nil, 0
  for _, reply in ipairs(groups.err and {} or groups) do
    local group = facts(reply)
    if spared == '' or string.sub(group.name, 1, #spared) ~= spared then
      local place = group['last-delivered-id']
      if group.pending > 0 then place = redis.call('XPENDING', stream, group.name)[2] end
      if not first or is_after(first, place) then first = place end
      number = number + 1
    end
  end
  return first, number
end
"""
