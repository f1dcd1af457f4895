/** Brokers read the clock every second. A longer step is one of the wall clock, or Redis was away. */
const maxStepMs = 10_000

/**
 * What has to happen in Redis all at once, as Lua that Redis runs without interruption. All keys begin with `faultline:`
 * and are made here, so the server is one Redis (with replicas if need be), not a Redis Cluster.
 *
 * | key | type | holds |
 * |---|---|---|
 * | `version` | number | of the subscriptions; grows by one with every change |
 * | `clients`, `subs:{session}` | set, hash | sessions with subscriptions; filter to `{qos, …}` |
 * | `clock` | hash | `ms` of the cluster's own clock, and the `wall` time of Redis when it was read last |
 * | `sequence` | number | of what was queued last: by that clock in microseconds, made unique |
 * | `messages:{session}` | hash | what a session has still to acknowledge, by stamp |
 * | `orders:{session}`, `telemetry:{session}` | sorted sets | stamps that wait, in the order of queueing |
 * | `ids:{session}`, `sent:{session}` | hashes | packet identifier to stamp, and stamp to identifier |
 * | `counts`, `bytes` | hashes | size of each session's queue |
 * | `incoming`, `incoming:{session}` | set, hash | QoS 2 taken and not released |
 * | `retained` | hash | by topic |
 * | `ring:{group}` | list | members, `{broker} {client}`; the next in turn first |
 * | `given:{group} {member}` | sorted set | stamps in flight to a member |
 * | `empty` | hash | since when a group has no member, by that clock |
 * | `holders`, `wills` | hashes | client id to `{broker} {user}`, and to its will |
 *
 * A message is a letter (`o` for an order to a device, `t` for anything else), its bytes in digits, `:` and CBOR, which is
 * left out once the client has it and waits for its release.
 */
const common = `
local P = 'faultline:'
local function key(kind, id) return P .. kind .. ':' .. id end
-- By which everything here grows old, in ms. Redis' own time is one for all brokers, but may jump or stand still with its
-- machine: it counts for so much at a time.
local function clock()
  local time = redis.call('TIME')
  local wall = time[1] * 1000 + math.floor(time[2] / 1000)
  local known = redis.call('HMGET', P .. 'clock', 'ms', 'wall')
  local ms
  if known[1] then ms = known[1] + math.min(math.max(wall - known[2], 0), ${maxStepMs})
  else
    -- Nothing that is here may come after what is queued from now on; groups begin to wait anew.
    ms = math.ceil((redis.call('GET', P .. 'sequence') or 0) / 1000)
    for _, group in ipairs(redis.call('HKEYS', P .. 'empty')) do redis.call('HSET', P .. 'empty', group, ms) end
  end
  redis.call('HSET', P .. 'clock', 'ms', string.format('%.0f', ms), 'wall', string.format('%.0f', wall))
  return ms
end
local function waiting(id, message)
  return key(string.sub(message, 1, 1) == 'o' and 'orders' or 'telemetry', id)
end
local function grow(id, messages, bytes)
  if redis.call('HINCRBY', P .. 'counts', id, messages) <= 0 then
    redis.call('HDEL', P .. 'counts', id)
    redis.call('HDEL', P .. 'bytes', id)
    return
  end
  redis.call('HINCRBY', P .. 'bytes', id, bytes)
end
local function bytesOf(message) return tonumber(string.match(message, '^.(%d+):')) end
local function forget(id, stamp)
  local message = redis.call('HGET', key('messages', id), stamp)
  if not message then return false end
  redis.call('HDEL', key('messages', id), stamp)
  redis.call('HDEL', key('sent', id), stamp)
  redis.call('ZREM', waiting(id, message), stamp)
  grow(id, -1, -bytesOf(message))
  return message
end
local function enqueue(id, stamp, message, now, maximum, maximumBytes)
  local bytes = bytesOf(message)
  if bytes > maximumBytes then return 1 end
  if redis.call('HSETNX', key('messages', id), stamp, message) == 0 then return 0 end
  local last = tonumber(redis.call('GET', P .. 'sequence') or '0')
  local sequence = string.format('%.0f', math.max(last + 1, now * 1000))
  redis.call('SET', P .. 'sequence', sequence)
  redis.call('ZADD', waiting(id, message), sequence, stamp)
  grow(id, 1, bytes)
  local dropped = 0
  while tonumber(redis.call('HGET', P .. 'counts', id) or '0') > maximum
    or tonumber(redis.call('HGET', P .. 'bytes', id) or '0') > maximumBytes do
    local victim = redis.call('ZRANGE', key('telemetry', id), 0, 0)[1] or redis.call('ZRANGE', key('orders', id), 0, 0)[1]
    if not victim then break end
    forget(id, victim)
    dropped = dropped + 1
  end
  return dropped
end
local function isGroup(id) return string.sub(id, 1, 7) == '$share/' end
local function given(group, member) return key('given', group .. ' ' .. member) end
local function first(id)
  local order = redis.call('ZRANGE', key('orders', id), 0, 0, 'WITHSCORES')
  local other = redis.call('ZRANGE', key('telemetry', id), 0, 0, 'WITHSCORES')
  if order[1] and (not other[1] or tonumber(order[2]) < tonumber(other[2])) then return order, key('orders', id) end
  return other, key('telemetry', id)
end
-- The next in turn of those that have room.
local function choose(group, room)
  local ring = key('ring', group)
  for _ = 1, redis.call('LLEN', ring) do
    local member = redis.call('LPOP', ring)
    redis.call('RPUSH', ring, member)
    if redis.call('ZCARD', given(group, member)) < room then return member end
  end
  return false
end
local function dispatch(group, room)
  while true do
    local next, from = first(group)
    local member = next[1] and choose(group, room)
    if not member then return end
    redis.call('ZREM', from, next[1])
    redis.call('ZADD', given(group, member), next[2], next[1])
    local broker, client = string.match(member, '^(%S+) (.*)$')
    redis.call('PUBLISH', key('broker', broker),
      cjson.encode({ kind = 'given', group = group, client = client, stamp = next[1] }))
  end
end
local function changed(client, change)
  change.client = client
  change.version = redis.call('INCR', P .. 'version')
  redis.call('PUBLISH', P .. 'subscriptions', cjson.encode(change))
  return change.version
end
local function finish(id)
  for _, member in ipairs(redis.call('LRANGE', key('ring', id), 0, -1)) do redis.call('DEL', given(id, member)) end
  local filters = redis.call('HKEYS', key('subs', id))
  for _, kind in ipairs({ 'messages', 'orders', 'telemetry', 'ids', 'sent', 'incoming', 'ring', 'subs' }) do
    redis.call('DEL', key(kind, id))
  end
  for _, kind in ipairs({ 'counts', 'bytes', 'empty' }) do redis.call('HDEL', P .. kind, id) end
  redis.call('SREM', P .. 'clients', id)
  redis.call('SREM', P .. 'incoming', id)
  return #filters > 0 and changed(id, { removed = filters }) or 0
end
local function leave(group, member, room)
  if redis.call('LREM', key('ring', group), 0, member) == 0 then return end
  local inFlight = redis.call('ZRANGE', given(group, member), 0, -1, 'WITHSCORES')
  for i = 1, #inFlight, 2 do
    local message = redis.call('HGET', key('messages', group), inFlight[i])
    if message then redis.call('ZADD', waiting(group, message), inFlight[i + 1], inFlight[i]) end
  end
  redis.call('DEL', given(group, member))
  if redis.call('LLEN', key('ring', group)) > 0 then return dispatch(group, room) end
  redis.call('HSET', P .. 'empty', group, clock())
end
`

/** By name: what each takes, then what it does. Answers are lists of texts and numbers. */
export const scripts = {
  /**
   * version stamp message room topic retained client id incoming (session maximum maximumBytes)… : stores a message
   * as retained (`topic` not empty; an empty `retained` clears), as taken (`client` not empty) and for sessions.
   * Answers -1 when the subscriptions are not those of `version` any more; else session and drops, in turns.
   */
  keep: `
if (redis.call('GET', P .. 'version') or '0') ~= ARGV[1] then return { -1 } end
-- Its connection broke before the answer, and the command was sent again; or the client came with it to another broker.
if ARGV[7] ~= '' and redis.call('HEXISTS', key('incoming', ARGV[7]), ARGV[8]) == 1 then return {} end
if ARGV[5] ~= '' then
  if ARGV[6] == '' then redis.call('HDEL', P .. 'retained', ARGV[5])
  else redis.call('HSET', P .. 'retained', ARGV[5], ARGV[6]) end
end
if ARGV[7] ~= '' then
  redis.call('HSET', key('incoming', ARGV[7]), ARGV[8], ARGV[9])
  redis.call('SADD', P .. 'incoming', ARGV[7])
end
local drops = {}
local now = #ARGV > 9 and clock()
for i = 10, #ARGV, 3 do
  local dropped = enqueue(ARGV[i], ARGV[2], ARGV[3], now, tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]))
  if isGroup(ARGV[i]) then dispatch(ARGV[i], tonumber(ARGV[4])) end
  if dropped > 0 then
    drops[#drops + 1] = ARGV[i]
    drops[#drops + 1] = dropped
  end
end
return drops`,

  /** session stamp id : notes the identifier a message was sent with. */
  sent: `
if redis.call('HEXISTS', key('messages', ARGV[1]), ARGV[2]) == 1 then
  redis.call('HSET', key('ids', ARGV[1]), ARGV[3], ARGV[2])
  redis.call('HSET', key('sent', ARGV[1]), ARGV[2], ARGV[3])
end`,

  /** session id : the client has the message, and waits for its release. */
  release: `
local stamp = redis.call('HGET', key('ids', ARGV[1]), ARGV[2])
local message = stamp and redis.call('HGET', key('messages', ARGV[1]), stamp)
if message then redis.call('HSET', key('messages', ARGV[1]), stamp, string.match(message, '^.%d+:')) end`,

  /** session id : takes what an acknowledgement is for out of the queue, and answers it and its stamp. */
  acknowledge: `
local stamp = redis.call('HGET', key('ids', ARGV[1]), ARGV[2])
if not stamp then return {} end
redis.call('HDEL', key('ids', ARGV[1]), ARGV[2])
local message = forget(ARGV[1], stamp)
return message and { message, stamp } or {}`,

  /** session stamp : takes a message out of a queue. */
  remove: 'forget(ARGV[1], ARGV[2])',

  /**
   * session after end : the place of the last message to read, which is the present last where `end` is empty; then up to a
   * hundred messages behind the place `after` in order of queueing: stamp, place, and identifier or ''.
   */
  queue: `
local last = ARGV[3]
local all = {}
for _, kind in ipairs({ 'orders', 'telemetry' }) do
  local newest = redis.call('ZRANGE', key(kind, ARGV[1]), -1, -1, 'WITHSCORES')[2]
  if ARGV[3] == '' and newest and (last == '' or tonumber(newest) > tonumber(last)) then last = newest end
end
if last == '' then return { '0' } end
for _, kind in ipairs({ 'orders', 'telemetry' }) do
  local found = redis.call('ZRANGEBYSCORE', key(kind, ARGV[1]), '(' .. ARGV[2], last, 'WITHSCORES', 'LIMIT', 0, 100)
  for i = 1, #found, 2 do all[#all + 1] = { found[i], found[i + 1] } end
end
table.sort(all, function(a, b) return tonumber(a[2]) < tonumber(b[2]) end)
local answer = { last }
for i = 1, math.min(#all, 100) do
  local stamp, place = unpack(all[i])
  answer[#answer + 1] = stamp
  answer[#answer + 1] = place
  answer[#answer + 1] = redis.call('HGET', key('sent', ARGV[1]), stamp) or ''
end
return answer`,

  /** age : drops telemetry that has waited for longer, in ms, and answers session and drops, in turns. */
  expire: `
local drops = {}
local before = string.format('(%.0f', (clock() - ARGV[1]) * 1000)
for _, id in ipairs(redis.call('HKEYS', P .. 'counts')) do
  local old = redis.call('ZRANGEBYSCORE', key('telemetry', id), '-inf', before)
  for _, stamp in ipairs(old) do forget(id, stamp) end
  if #old > 0 then
    drops[#drops + 1] = id
    drops[#drops + 1] = #old
  end
end
return drops`,

  /** session : ends it, and answers the version without its subscriptions. */
  finish: 'return finish(ARGV[1])',

  /** session (filter options)… : adds subscriptions, and answers the version that has them. */
  subscribe: `
local added = {}
for i = 2, #ARGV, 2 do
  if redis.call('HGET', key('subs', ARGV[1]), ARGV[i]) ~= ARGV[i + 1] then
    redis.call('HSET', key('subs', ARGV[1]), ARGV[i], ARGV[i + 1])
    added[#added + 1] = { ARGV[i], ARGV[i + 1] }
  end
end
if #added == 0 then return 0 end
redis.call('SADD', P .. 'clients', ARGV[1])
return changed(ARGV[1], { added = added })`,

  /** session filter… : removes subscriptions, and answers the version without them. */
  unsubscribe: `
local removed = {}
for i = 2, #ARGV do
  if redis.call('HDEL', key('subs', ARGV[1]), ARGV[i]) == 1 then removed[#removed + 1] = ARGV[i] end
end
if redis.call('HLEN', key('subs', ARGV[1])) == 0 then redis.call('SREM', P .. 'clients', ARGV[1]) end
return #removed > 0 and changed(ARGV[1], { removed = removed }) or 0`,

  /** Answers the version, then client, filter and options of every subscription. */
  subscriptions: `
local answer = { redis.call('GET', P .. 'version') or '0' }
for _, client in ipairs(redis.call('SMEMBERS', P .. 'clients')) do
  local subs = redis.call('HGETALL', key('subs', client))
  for i = 1, #subs, 2 do
    answer[#answer + 1] = client
    answer[#answer + 1] = subs[i]
    answer[#answer + 1] = subs[i + 1]
  end
end
return answer`,

  /** group member room : makes a member, and gives it what waits. */
  join: `
local ring = key('ring', ARGV[1])
if not redis.call('LPOS', ring, ARGV[2]) then redis.call('RPUSH', ring, ARGV[2]) end
redis.call('HDEL', P .. 'empty', ARGV[1])
dispatch(ARGV[1], tonumber(ARGV[3]))`,

  /** group member room : its messages go to others, or wait for the next member. */
  leave: 'leave(ARGV[1], ARGV[2], tonumber(ARGV[3]))',

  /** group member stamp room : a member has a message; it has room for the next. */
  done: `
if redis.call('ZREM', given(ARGV[1], ARGV[2]), ARGV[3]) == 0 then return end
forget(ARGV[1], ARGV[3])
dispatch(ARGV[1], tonumber(ARGV[4]))`,

  /**
   * group member stamp room session messages bytes copy message : a message that a member has becomes one of its own session.
   * Answers -1 when the member has it no more, else the drops of the session.
   */
  hand: `
if redis.call('ZREM', given(ARGV[1], ARGV[2]), ARGV[3]) == 0 then return -1 end
forget(ARGV[1], ARGV[3])
local dropped = enqueue(ARGV[5], ARGV[8], ARGV[9], clock(), tonumber(ARGV[6]), tonumber(ARGV[7]))
dispatch(ARGV[1], tonumber(ARGV[4]))
return dropped`,

  /** group : whose turn it is for a message of QoS 0, which does not wait. */
  turn: 'return choose(ARGV[1], math.huge)',

  /** group member : stamps in flight to it. */
  given: 'return redis.call("ZRANGE", given(ARGV[1], ARGV[2]), 0, -1)',

  /** broker room : the members a broker had are no more. */
  bury: `
for _, group in ipairs(redis.call('SMEMBERS', P .. 'clients')) do
  if isGroup(group) then
    for _, member in ipairs(redis.call('LRANGE', key('ring', group), 0, -1)) do
      if string.match(member, '^(%S+) ') == ARGV[1] then leave(group, member, tonumber(ARGV[2])) end
    end
  end
end`,

  /** age : ends groups that have been without a member for longer, in ms; answers those that had messages, each with how many. */
  abandon: `
local lost = {}
local before = clock() - ARGV[1]
local empty = redis.call('HGETALL', P .. 'empty')
for i = 1, #empty, 2 do
  if tonumber(empty[i + 1]) < before then
    local messages = redis.call('HLEN', key('messages', empty[i]))
    if messages > 0 then
      lost[#lost + 1] = empty[i]
      lost[#lost + 1] = messages
    end
    finish(empty[i])
  end
end
return lost`,

  /** client expected holder : takes a client id; answers who holds it when that is not `expected` nor the same broker. */
  take: `
local now = redis.call('HGET', P .. 'holders', ARGV[1])
if now and now ~= ARGV[2] and string.match(now, '^%S+') ~= string.match(ARGV[3], '^%S+') then return now end
redis.call('HSET', P .. 'holders', ARGV[1], ARGV[3])`,

  /** client holder : gives a client id back, should it still be held so. */
  drop: "if redis.call('HGET', P .. 'holders', ARGV[1]) == ARGV[2] then redis.call('HDEL', P .. 'holders', ARGV[1]) end",
} as const

export type ScriptName = keyof typeof scripts

export const sourceOf = (name: ScriptName): string => `${common}\n${scripts[name]}`
