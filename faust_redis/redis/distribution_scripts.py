"""Lua scripts of the distribution. All keys of a script share one slot; results below zero as in `scripts`."""

from typing import Final

from faust_redis.redis.lua import FUNCTIONS

#: Instead of a result: a distributor with a greater epoch has been here; nothing was changed.
FENCED: Final = -3
#: Instead of a result: the stream or its group is gone; nothing was changed.
GONE: Final = -4
#: Instead of a result: the stream has had the greatest id that there is, or almost, so that nothing can be appended.
EXHAUSTED: Final = -5

#: Begin a new epoch, greater than every one before, if the lease is still ours.
#: KEYS lease, distribution of the source. ARGV token, an epoch that was met. Returns the new epoch, or LOST.
BEGIN_EPOCH: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local epoch = math.max(tonumber(redis.call('HGET', KEYS[2], 'epoch') or 0), tonumber(ARGV[2])) + 1
redis.call('HSET', KEYS[2], 'epoch', epoch)
return epoch
"""

#: Let a partition take entries whatever their ids, since the source is another stream than the one that it knows.
#: KEYS distribution of the stream. ARGV epoch. Returns the stored epoch when that is greater, else 0.
FORGET_POSITION: Final = """
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch and tonumber(epoch) > tonumber(ARGV[1]) then return tonumber(epoch) end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'position', '0-0')
return 0
"""

#: Append entries to a partition's stream, each once, and remember how far it has come.
#: KEYS stream, its distribution. ARGV epoch, and of the entries, in ascending order: how many values each has with its
#: id, the lengths of all values (both arrays packed by msgpack), the values joined.
#: Returns the number appended, and the stored epoch when that is greater (FENCED); or EXHAUSTED.
#: An entry keeps its id. Where the stream is beyond that already, as after dead letters were sent again, it gets the
#: next one possible: what was appended before is known by the position, and else by being there.
APPEND: Final = (
    FUNCTIONS
    + r"""
local epoch = redis.call('HGET', KEYS[2], 'epoch')
if epoch and tonumber(epoch) > tonumber(ARGV[1]) then return {-3, tonumber(epoch)} end
local position, last = redis.call('HGET', KEYS[2], 'position') or '0-0', '0-0'
local stream = redis.pcall('XINFO', 'STREAM', KEYS[1])
if not stream.err then last = facts(stream)['last-generated-id']
elseif not string.find(stream.err, 'no such key', 1, true) then return stream end

local exhausted = string.match(last, '%d+') == '18446744073709551615'

local counts, lengths = cmsgpack.unpack(ARGV[2]), cmsgpack.unpack(ARGV[3])
local number, first, appended, above = 0, 1, 0, false
local id
for _, count in ipairs(counts) do
  local values = {}
  for i = 1, count do
    number = number + 1
    local next_first = first + lengths[number]
    values[i] = string.sub(ARGV[4], first, next_first - 1)
    first = next_first
  end
  id = values[1]
  above = above or is_after(id, position) and is_after(id, last)
  if above then
    redis.call('XADD', KEYS[1], unpack(values))
    appended = appended + 1
  elseif is_after(id, position) and #redis.call('XRANGE', KEYS[1], id, id) == 0 then
    if exhausted then return {-5, 0} end -- nothing was appended: what is above comes last
    values[1] = '*'
    last = redis.call('XADD', KEYS[1], unpack(values))
    appended = appended + 1
  end
end
if not id then return {exhausted and -5 or 0, 0} end
redis.call('HSET', KEYS[2], 'epoch', ARGV[1], 'position', is_after(id, position) and id or position)
return {appended, 0}
"""
)

#: advance: moves a group behind an entry that was distributed, the last of so many; never back, since a call may arrive
#: late. Returns 1 when it was moved, 0 when it was there, GONE.
_ADVANCE: Final = r"""
local function advance(stream, name, id, entries)
  local groups, group = redis.pcall('XINFO', 'GROUPS', stream), nil
  if groups.err then return string.find(groups.err, 'no such key', 1, true) and -4 or groups end
  for _, reply in ipairs(groups) do
    local named = facts(reply)
    if named.name == name then group = named end
  end
  if not group then return -4 end
  if not is_after(id, group['last-delivered-id']) then return 0 end
  local source, read = facts(redis.call('XINFO', 'STREAM', stream)), nil
  -- How many entries a group has read is what Redis knows its lag by.
  if source['last-generated-id'] == id then read = source['entries-added']
  elseif group.lag then read = source['entries-added'] - group.lag + entries end
  if read then redis.call('XGROUP', 'SETID', stream, name, id, 'ENTRIESREAD', read)
  else redis.call('XGROUP', 'SETID', stream, name, id) end
  return 1
end
"""

#: Move the group behind the entries that were distributed. KEYS lease, source. ARGV token, group, id of the last entry,
#: how many there were. Returns as `advance`, or LOST.
ADVANCE: Final = (
    FUNCTIONS
    + _ADVANCE
    + r"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
return advance(KEYS[2], ARGV[2], ARGV[3], ARGV[4])
"""
)

#: Move the next entry to the dead letters that is too large to be read, and the group behind it.
#: KEYS lease, source, dead letters. ARGV token, group, the id before it, reason. Returns its id and 1, or 0 when it was
#: passed over before; nothing when there is none; LOST alone. Of more values than Lua can unpack the first are kept.
PASS_OVER: Final = (
    FUNCTIONS
    + _ADVANCE
    + r"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {-1} end
local found = redis.call('XRANGE', KEYS[2], '(' .. ARGV[3], '+', 'COUNT', 1)[1]
local moved = found and advance(KEYS[2], ARGV[2], found[1], 1) or -4
if moved < 0 then return {} end
if moved == 0 then return {found[1], 0} end
local entry = {unpack(found[2], 1, math.min(#found[2], 7000))}
for _, value in ipairs({'reason', ARGV[4], 'attempts', 1, 'original_id', found[1]}) do entry[#entry + 1] = value end
redis.call('XADD', KEYS[3], '*', unpack(entry))
return {found[1], 1}
"""
)
