"""Lua scripts: the steps that must happen together or not at all. All keys of a script share one slot."""

from faust_redis.redis.lua import FUNCTIONS

#: Instead of a result: the lease is no longer ours; nothing was changed.
LOST = -1
#: Instead of a result: the stored state is not the one that the batch was computed from; nothing was changed.
CONFLICT = -2

#: Extend a lease if it is still ours. KEYS lease. ARGV token, ttl in ms. Returns 1 when extended.
RENEW = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
"""

#: Give a lease back if it is still ours. KEYS lease. ARGV token. Returns 1 when deleted.
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

#: Take the name of a process, or keep it. KEYS name. ARGV token, what else its holder says, ttl in ms.
#: Returns what the holder says when that is another one, else nothing.
KEEP_NAME = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, #ARGV[1]) ~= ARGV[1] then return held end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
return ''
"""

#: Give a name back if it is still ours. KEYS name. ARGV token. Returns 1 when deleted.
FREE_NAME = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, #ARGV[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

#: Announce an instance and list the live ones by the server's clock.
#: KEYS list. ARGV instance id, milliseconds after which a silent instance counts as gone. Returns their ids.
HEARTBEAT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. (now - ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2] * 10)
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""

#: Look who is alive, without a trace in Redis' log of commands: this is asked often.
#: KEYS list, mark of changes. ARGV milliseconds after which a silent instance counts as gone.
#: Returns the mark and the ids of the live instances.
LOOK = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return {redis.call('GET', KEYS[2]) or '', redis.call('ZRANGE', KEYS[1], now - ARGV[1], '+inf', 'BYSCORE')}
"""

#: Create a group at the beginning of a stream, and the stream. KEYS lease, stream. ARGV token, group.
#: Returns 1 when created, 0 when both existed, LOST when the lease is no longer ours.
CREATE_GROUP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local reply = redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[2], '0', 'MKSTREAM')
if not reply.err then return 1 end
if string.find(reply.err, 'BUSYGROUP', 1, true) then return 0 end
return reply
"""

#: Drop group members that hold nothing and are not alive: each start has a new instance id.
#: KEYS lease, stream. ARGV token, group, live instance ids... Returns the number of members dropped, or LOST.
FORGET_CONSUMERS = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local alive = {}
for i = 3, #ARGV do alive[ARGV[i]] = true end
local dropped = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[2], ARGV[2])) do
  local name, pending = consumer[2], consumer[4]
  if pending == 0 and not alive[name] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[2], ARGV[2], name)
    dropped = dropped + 1
  end
end
return dropped
"""

#: Look how far a group is. KEYS lease, stream. ARGV token, group. Returns nil when the stream is gone, else entries
#: read, last delivered id, entries added, length, first id, highest deleted id, last id, lag, first unread id, the time
#: in ms, and 1 when the lease is ours.
#: A group that is gone is where it will be when it is created again: before all.
PROGRESS = (
    FUNCTIONS
    + """
local reply = redis.pcall('XINFO', 'STREAM', KEYS[2])
if reply.err then
  if string.find(reply.err, 'no such key', 1, true) then return false end
  return reply
end
local stream = facts(reply)
local group = {['entries-read'] = false, ['last-delivered-id'] = '0-0', lag = false}
for _, reply in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
  local found = facts(reply)
  if found.name == ARGV[2] then group = found end
end
local place, time = group['last-delivered-id'], redis.call('TIME')
local unread = redis.call('XRANGE', KEYS[2], '(' .. place, '+', 'COUNT', 1)[1]
return {group['entries-read'], place, stream['entries-added'], stream.length, stream['recorded-first-entry-id'],
  stream['max-deleted-entry-id'], stream['last-generated-id'], group.lag, unread and unread[1] or false,
  time[1] * 1000 + math.floor(time[2] / 1000), redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0}
"""
)

#: Tell what a stream can still give, without its entries, which XINFO shows. KEYS stream.
#: Returns first id (0-0 when there is none), last id ever, entries ever added, and how many are there.
TIPS = """
local reply = redis.pcall('XINFO', 'STREAM', KEYS[1])
if reply.err then return reply end
local found = {}
for i = 1, #reply, 2 do found[reply[i]] = reply[i + 1] end
return {found['recorded-first-entry-id'], found['last-generated-id'], found['entries-added'], found.length}
"""

#: Move a pending entry to the dead letters that is too large to be read, as it is.
#: KEYS lease, stream, dead letters. ARGV token, group, id, reason. Returns 1 when moved, 0 when it is gone, or LOST.
#: Of more values than Lua can unpack the first are kept.
BURY_UNREAD = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local pending = redis.call('XPENDING', KEYS[2], ARGV[2], ARGV[3], ARGV[3], 1)[1]
local found = redis.call('XRANGE', KEYS[2], ARGV[3], ARGV[3])[1]
if not (pending and found) then return 0 end
local entry = {unpack(found[2], 1, math.min(#found[2], 7000))}
for _, value in ipairs({'reason', ARGV[4], 'attempts', pending[4], 'original_id', ARGV[3]}) do
  entry[#entry + 1] = value
end
redis.call('XADD', KEYS[3], '*', unpack(entry))
redis.call('XACK', KEYS[2], ARGV[2], ARGV[3])
return 1
"""

#: Commit one batch: acknowledge its entries, move the hopeless ones to the dead letters, store its state changes.
#: KEYS lease, stream, dead letters, then one state hash for each table.
#: ARGV token, group, deliveries before a refused entry is dead, `remove` when entries are to leave the stream, a prefix
#:   of groups that need not have them before, acknowledged ids joined by blanks,
#:   for each table: the version that its changes were computed from, and the one that they make,
#:   n, n times (id, always|limit, reason, m, m fields and values),
#:   then for each table: keys to set and lengths of their values (arrays packed by msgpack), the values joined, keys
#:   to delete (as the first).
#: (A thousand arguments cost the client far more than one long one.)
#: Returns the number acknowledged and, in order, 1 for each verdict that went to the dead letters, else 0;
#: LOST alone when the lease is no longer ours; CONFLICT, the table counted from 0 and its stored version when the
#: changes do not follow on that. A commit that was applied already, its reply lost, has nothing left to do.
#: Commands get slices since Lua unpacks at most some thousands of values.
#: Redis does not undo a script that fails midway, so all that could make it fail is checked before the first write.
COMMIT = (
    FUNCTIONS
    + r"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {-1} end
for number = 2, #KEYS do
  local wanted, found = number <= 3 and 'stream' or 'hash', redis.call('TYPE', KEYS[number]).ok
  if found ~= 'none' and found ~= wanted then
    return redis.error_reply('WRONGTYPE ' .. KEYS[number] .. ' should be a ' .. wanted .. ' and is a ' .. found)
  end
end
local at, applied = 7, false
for number = 4, #KEYS do
  local stored = redis.call('HGET', KEYS[number], '\0version') or ''
  if stored == ARGV[at + 1] then applied = true
  elseif stored ~= ARGV[at] then return {-2, number - 4, stored} end
  at = at + 2
end
local result, verdicts = {0}, tonumber(ARGV[at])
if applied then
  for _ = 1, verdicts do result[#result + 1] = 0 end
  return result
end
local stream, dead, group, limit = KEYS[2], KEYS[3], ARGV[2], tonumber(ARGV[3])
local function each_slice(values, call)
  for first = 1, #values, 2000 do call(unpack(values, first, math.min(first + 1999, #values))) end
end

local ids = {}
for id in string.gmatch(ARGV[6], '%S+') do ids[#ids + 1] = id end
each_slice(ids, function(...) result[1] = result[1] + redis.call('XACK', stream, group, ...) end)

at = at + 1
for _ = 1, verdicts do
  local id, when, reason, n = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  local pending = redis.pcall('XPENDING', stream, group, id, id, 1)[1] -- none where the group is gone
  local verdict = 0
  if pending and (when == 'always' or pending[4] >= limit) then
    local entry = {unpack(ARGV, at + 4, at + 3 + n)}
    for _, value in ipairs({'reason', reason, 'attempts', pending[4], 'original_id', id}) do
      entry[#entry + 1] = value
    end
    redis.call('XADD', dead, '*', unpack(entry))
    redis.call('XACK', stream, group, id)
    ids[#ids + 1] = id
    verdict = 1
  end
  at = at + 4 + n
  result[#result + 1] = verdict
end
if ARGV[4] == 'remove' then
  local first, groups = needed(stream, ARGV[5])
  if groups <= 1 then each_slice(ids, function(...) redis.call('XDEL', stream, ...) end)
  elseif first then redis.call('XTRIM', stream, 'MINID', first) end
end

for table_number = 4, #KEYS do
  local hash = KEYS[table_number]
  local changes = {}
  local lengths, values, first = cmsgpack.unpack(ARGV[at + 1]), ARGV[at + 2], 1
  for number, key in ipairs(cmsgpack.unpack(ARGV[at])) do
    local last = first + lengths[number] - 1
    changes[2 * number - 1], changes[2 * number] = key, string.sub(values, first, last)
    first = last + 1
  end
  each_slice(changes, function(...) redis.call('HSET', hash, ...) end)
  each_slice(cmsgpack.unpack(ARGV[at + 3]), function(...) redis.call('HDEL', hash, ...) end)
  redis.call('HSET', hash, '\0version', ARGV[2 * table_number])
  at = at + 4
end
return result
"""
)

#: Trim a stream, never beyond what every group has acknowledged. KEYS lease, stream. ARGV token, a prefix of groups
#: that do not count, how many entries stay (0 = it goes by age), for how many ms they do.
#: Returns the number of entries removed, which is less than a thousand when no more are to be; LOST.
TRIM = (
    FUNCTIONS
    + r"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local stream, entries, age = KEYS[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local limit = needed(stream, ARGV[2])
local first
if entries > 0 then
  local excess = redis.call('XLEN', stream) - entries
  if excess <= 0 then return 0 end
  local page = redis.call('XRANGE', stream, '-', '+', 'COUNT', math.min(excess, 1000) + 1)
  first = page[#page][1]
else
  local time = redis.call('TIME')
  first = string.format('%d-0', time[1] * 1000 + math.floor(time[2] / 1000) - age)
end
if not limit then return 0 end
if is_after(first, limit) then first = limit end
-- By whole nodes it takes little time, and of a long stream one part at a time; what is left then are single entries.
local removed = redis.call('XTRIM', stream, 'MINID', '~', first, 'LIMIT', 10000)
if removed < 10000 then removed = removed + redis.call('XTRIM', stream, 'MINID', first) end
return removed
"""
)
