"""Lua scripts that change the number of partitions; each first looks whether the lease is still ours.

All return 0 when it is not, having changed nothing. All may be run again.
"""

from faust_redis.redis.lua import FUNCTIONS

_FUNCTIONS = (
    FUNCTIONS
    + r"""
-- As `packing.packed` does it: what msgpack Redis makes itself knows no bytes.
local function appendable(fields)
  if #fields <= 7000 then return fields end
  local parts = {'\221' .. struct.pack('>I4', #fields)}
  for _, value in ipairs(fields) do parts[#parts + 1] = '\198' .. struct.pack('>I4', #value) .. value end
  return {'packed', table.concat(parts)}
end
local function exists(key) return redis.call('TYPE', key).ok ~= 'none' end
local function delivered_id(stream, group)
  if not exists(stream) then return nil end
  for _, reply in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local named = facts(reply)
    if named.name == group then return named['last-delivered-id'] end
  end
end
local function set_group(stream, group, id)
  local delivered = delivered_id(stream, group)
  if not delivered then redis.call('XGROUP', 'CREATE', stream, group, id)
  elseif delivered ~= id then redis.call('XGROUP', 'SETID', stream, group, id) end
end
"""
)

#: KEYS lease, key. ARGV token, value.
SET = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
return 1
"""

#: Put what was copied for a stream in its place. What has no copy is removed: it was moved elsewhere.
#: KEYS lease, the copied stream, until which entry the stream itself was copied, then pairs: key, its copy.
#: ARGV token, the stream, or nothing when it stays as it is. Returns one more than how many entries had come meanwhile.
#: The copied stream is there until all is done: without it there is nothing left to do.
SWITCH = (
    _FUNCTIONS
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local copied, stream, late = KEYS[2], ARGV[2], 0
if not exists(copied) then return 1 end
for at = 4, #KEYS, 2 do
  if not exists(KEYS[at + 1]) then redis.call('UNLINK', KEYS[at]) end
end
if stream ~= '' then
  for _, entry in ipairs(redis.call('XRANGE', stream, '(' .. (redis.call('GET', KEYS[3]) or '0-0'), '+')) do
    local fields = appendable(entry[2])
    local added = redis.pcall('XADD', copied, entry[1], unpack(fields))
    if type(added) == 'table' and added.err then redis.call('XADD', copied, '*', unpack(fields)) end
    late = late + 1
  end
end
for at = 4, #KEYS, 2 do
  if exists(KEYS[at + 1]) then
    redis.call('UNLINK', KEYS[at]) -- renaming over it would free it at once, which may take long
    redis.call('RENAME', KEYS[at + 1], KEYS[at])
  end
end
redis.call('UNLINK', copied, KEYS[3])
return 1 + late
"""
)

#: KEYS lease, keys to remove... ARGV token.
REMOVE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for at = 2, #KEYS do redis.call('UNLINK', KEYS[at]) end
return 1
"""

#: Take a stream that was copied and is none of the partitions any more for read until there, with nothing pending, or
#: remove it. KEYS lease, stream, until which entry it was copied, then what lies beside it and was copied too.
#: ARGV token, group, `keep` or `remove`. Returns one more than how many entries come after those; these stay.
RETIRE = (
    _FUNCTIONS
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local stream, group, copied_until = KEYS[2], ARGV[2], redis.call('GET', KEYS[3])
if not copied_until then return 1 end
local left = 0
if exists(stream) then
  left = #redis.call('XRANGE', stream, '(' .. copied_until, '+')
  set_group(stream, group, copied_until)
  local pending = redis.call('XPENDING', stream, group, '-', '+', 1000)
  while #pending > 0 do
    local ids = {}
    for number, entry in ipairs(pending) do ids[number] = entry[1] end
    redis.call('XACK', stream, group, unpack(ids))
    pending = redis.call('XPENDING', stream, group, '-', '+', 1000)
  end
  if left == 0 and ARGV[3] == 'remove' then redis.call('UNLINK', stream) end
end
for at = 3, #KEYS do redis.call('UNLINK', KEYS[at]) end
return 1 + left
"""
)

#: Take a stream that stays for read until an entry. KEYS lease, stream, until which. ARGV token, group.
SETTLE = (
    _FUNCTIONS
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local read_until = redis.call('GET', KEYS[3])
if read_until and exists(KEYS[2]) then set_group(KEYS[2], ARGV[2], read_until) end
return 1
"""
)

#: Append a page of copied entries to a stream that stays, under their own ids where these are above its last one. What
#: it has read already, since it was distributed from there, becomes pending there instead.
#: KEYS lease, stream, copied stream. ARGV token, group, entries in a page. Returns one more than how many are left.
APPEND = (
    _FUNCTIONS
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local stream, copied, group = KEYS[2], KEYS[3], ARGV[2]
local delivered = delivered_id(stream, group)
local function has(id, fields)
  local found = redis.call('XRANGE', stream, id, id)[1]
  if not found or #found[2] ~= #fields then return false end
  for at, value in ipairs(fields) do if found[2][at] ~= value then return false end end
  return true
end
for _, entry in ipairs(redis.call('XRANGE', copied, '-', '+', 'COUNT', ARGV[3])) do
  local id, fields = entry[1], entry[2]
  if delivered and has(id, fields) and not is_after(id, delivered) then
    redis.call('XCLAIM', stream, group, 'moved', 0, id, 'RETRYCOUNT', 0, 'FORCE', 'JUSTID')
  else
    fields = appendable(fields)
    local added = redis.pcall('XADD', stream, id, unpack(fields))
    if type(added) == 'table' and added.err then redis.call('XADD', stream, '*', unpack(fields)) end
  end
  redis.call('XDEL', copied, id)
end
return 1 + redis.call('XLEN', copied)
"""
)

#: Let a stream take nothing any more from distributors of an epoch before this one.
#: KEYS lease, distribution of the stream. ARGV token, epoch.
FENCE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[2], 'epoch', ARGV[2])
return 1
"""
