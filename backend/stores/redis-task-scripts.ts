/**
 * The scripts of the task ledger in Redis; each is one step that happens whole or not at all. Keys and their bounds
 * are described in docs/storage.md. They use keys that they find in values, so Redis must be one server (with
 * replicas if wanted), not a cluster.
 */
import { RedisScript } from "./redis-script.ts";

/** Events of the work stream's group: every backend is a consumer of it. */
export const WORK_GROUP = "backends";

/** Notices that a backend has not read yet; one that does not read them finds out by renewing its leases. */
const INBOX_ENTRIES_MAX = 1_000;

/** Ended and vanished turns that one call takes from the front of a context's order. */
const HEADS_SKIPPED_MAX = 100;

const COMMON = `
local function nowMs()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function inboxOf(backend) return 'parley:backend:' .. backend .. ':inbox' end

local function notify(backend, kind, taskId)
  local inbox = inboxOf(backend)
  redis.call('XADD', inbox, 'MAXLEN', '~', ${INBOX_ENTRIES_MAX}, '*', 'kind', kind, 'task', taskId)
  redis.call('PEXPIRE', inbox, 600000)
end

-- Whose turn it is in a context; false when nobody waits.
local function firstOf(turns, prefix)
  for _ = 1, ${HEADS_SKIPPED_MAX} do
    local taskId = redis.call('LINDEX', turns, 0)
    if not taskId then return false end
    if redis.call('HGET', prefix .. taskId, 'state') == 'running' then return taskId end
    redis.call('LPOP', turns)
  end
  return false
end

local function keep(milliseconds, ...)
  for _, key in ipairs({...}) do redis.call('PEXPIRE', key, milliseconds) end
end

local function held(turns, prefix, taskId, canceled, followed)
  local first = firstOf(turns, prefix) == taskId
  return {'held', first and '1' or '', canceled or '', followed or ''}
end
`;

/**
 * KEYS: message, task, turns, events, work. ARGV: task id, tenant, prefix of task keys, backend, payload hash, record,
 * first event, reserved sequence, time to live.
 */
export const ACCEPT = new RedisScript(`${COMMON}
local taskId, tenant, prefix, backend, hash = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local ttl = tonumber(ARGV[9])
local known = redis.call('GET', KEYS[1])
if known == taskId then
  local task = redis.call('HMGET', KEYS[2], 'state', 'lease', 'backend', 'cancel', 'followed')
  if task[1] == 'running' and task[3] == backend then
    local state = held(KEYS[3], prefix, taskId, task[4], task[5])
    return {'accepted', task[2], state[2]}
  end
  if task[1] then return {'known', taskId} end
elseif known then
  local task = redis.call('HMGET', prefix .. known, 'hash', 'again')
  if task[1] and task[2] ~= '1' then
    if task[1] ~= hash then return {'conflict'} end
    return {'known', known}
  end
end
local entry = redis.call('XADD', KEYS[5], '*', 'tenant', tenant, 'task', taskId)
local function own()
  return redis.pcall('XCLAIM', KEYS[5], '${WORK_GROUP}', backend, 0, entry, 'FORCE', 'JUSTID', 'LASTID', entry)
end
if own().err then
  redis.call('XGROUP', 'CREATE', KEYS[5], '${WORK_GROUP}', '0')
  own()
end
local lease = backend .. '/0'
redis.call('HSET', KEYS[2], 'record', ARGV[6], 'hash', hash, 'state', 'running', 'backend', backend, 'lease', lease,
  'entry', entry, 'reserved', ARGV[8], 'last', '1', 'takeovers', '0', 'turns', KEYS[3])
redis.call('DEL', KEYS[4])
redis.call('XADD', KEYS[4], '1-0', 'events', ARGV[7])
redis.call('RPUSH', KEYS[3], taskId)
redis.call('SET', KEYS[1], taskId)
keep(ttl, KEYS[1], KEYS[2], KEYS[3], KEYS[4])
return {'accepted', lease, firstOf(KEYS[3], prefix) == taskId and '1' or ''}
`);

/**
 * KEYS: task, events, turns, work, message. ARGV: task id, prefix of task keys, backend, lease, last sequence, events,
 * reserved sequence, time to live, '' or 'end', '1' when the message may be run again.
 */
export const APPEND = new RedisScript(`${COMMON}
local taskId, prefix, backend, lease = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local task = redis.call('HMGET', KEYS[1], 'lease', 'state', 'last', 'entry', 'cancel', 'followed')
if not task[1] then return {'gone'} end
if task[1] ~= lease or task[2] ~= 'running' then return {'lost'} end
if tonumber(ARGV[5]) > tonumber(task[3]) then
  redis.call('XADD', KEYS[2], ARGV[5] .. '-0', 'events', ARGV[6])
  redis.call('HSET', KEYS[1], 'last', ARGV[5])
end
redis.call('HSET', KEYS[1], 'reserved', ARGV[7])
keep(tonumber(ARGV[8]), KEYS[1], KEYS[2], KEYS[3], KEYS[5])
if ARGV[9] ~= 'end' then
  redis.pcall('XCLAIM', KEYS[4], '${WORK_GROUP}', backend, 0, task[4], 'JUSTID')
  return held(KEYS[3], prefix, taskId, task[5], task[6])
end
redis.call('HSET', KEYS[1], 'state', 'ended', 'again', ARGV[10])
redis.call('LREM', KEYS[3], 1, taskId)
redis.pcall('XACK', KEYS[4], '${WORK_GROUP}', task[4])
redis.call('XDEL', KEYS[4], task[4])
local nextId = firstOf(KEYS[3], prefix)
if nextId then notify(redis.call('HGET', prefix .. nextId, 'backend'), 'turn', nextId) end
return {'held', '', '', ''}
`);

/**
 * KEYS: work, then task and turns of each lease. ARGV: backend, time to live, then task id, prefix and lease of each.
 * Returns the server's time, milliseconds, and the states.
 */
export const RENEW = new RedisScript(`${COMMON}
local states = {}
for i = 1, (#KEYS - 1) / 2 do
  local key, turns = KEYS[2 * i], KEYS[2 * i + 1]
  local taskId, prefix, lease = ARGV[3 * i], ARGV[3 * i + 1], ARGV[3 * i + 2]
  local task = redis.call('HMGET', key, 'lease', 'state', 'entry', 'cancel', 'followed')
  if not task[1] then states[i] = {'gone'}
  elseif task[1] ~= lease or task[2] ~= 'running' then states[i] = {'lost'}
  else
    redis.pcall('XCLAIM', KEYS[1], '${WORK_GROUP}', ARGV[1], 0, task[3], 'JUSTID')
    keep(tonumber(ARGV[2]), key, turns)
    states[i] = held(turns, prefix, taskId, task[4], task[5])
  end
end
return {tostring(nowMs()), states}
`);

/**
 * KEYS: work. ARGV: backend, lease time, tasks at most, where to go on, the server's time when it was asked, how late
 * it may be. A claim that Redis finds in its queue when it goes on after a standstill would take every lease, because
 * all have run out by then: it does nothing. Returns where to go on the next time, and the tasks taken over.
 */
export const CLAIM = new RedisScript(`${COMMON}
if nowMs() - tonumber(ARGV[5]) > tonumber(ARGV[6]) then return {'0-0', {}} end
local reply = redis.pcall('XAUTOCLAIM', KEYS[1], '${WORK_GROUP}', ARGV[1], ARGV[2], ARGV[4], 'COUNT', ARGV[3])
if reply.err then return {'0-0', {}} end
local claimed = {}
for _, entry in ipairs(reply[2]) do
  local tenant, taskId = entry[2][2], entry[2][4]
  local prefix = tenant .. ':task:'
  local key = prefix .. taskId
  local task = redis.call('HMGET', key, 'state', 'record', 'reserved', 'cancel', 'followed', 'turns', 'backend')
  if task[1] ~= 'running' then
    redis.call('XACK', KEYS[1], '${WORK_GROUP}', entry[1])
    redis.call('XDEL', KEYS[1], entry[1])
  else
    -- A backend that was late to renew takes nothing over from itself.
    local takeovers = redis.call('HINCRBY', key, 'takeovers', task[7] == ARGV[1] and 0 or 1)
    local lease = ARGV[1] .. '/' .. redis.call('HINCRBY', key, 'claims', 1)
    redis.call('HSET', key, 'backend', ARGV[1], 'lease', lease)
    local events = redis.call('XRANGE', tenant .. ':events:' .. taskId, '-', '+')
    local pieces = {}
    for i, piece in ipairs(events) do pieces[i] = piece[2][2] end
    claimed[#claimed + 1] = {task[2], lease, task[3], tostring(takeovers),
      held(task[6], prefix, taskId, task[4], task[5]), pieces}
  end
end
return {reply[1], claimed}
`);

/** KEYS: task. ARGV: task id, 'cancel' or 'follow'. Tells the backend that runs it. Returns its state. */
export const ASK = new RedisScript(`${COMMON}
local task = redis.call('HMGET', KEYS[1], 'state', 'backend')
if task[1] == 'running' then
  redis.call('HSET', KEYS[1], ARGV[2] == 'cancel' and 'cancel' or 'followed', '1')
  notify(task[2], ARGV[2], ARGV[1])
end
return task[1]
`);
