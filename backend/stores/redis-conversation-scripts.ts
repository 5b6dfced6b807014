/**
 * The scripts of `redis-conversation-store.ts`. KEYS of each: the list of exchanges, their ids, the rest. An element of
 * the list is `<characters> <tokens> <JSON>`, so that what is cut off is subtracted without reading it. `count` and
 * `known` tell a context of which Redis has evicted a part: it is missing then.
 */
import { RedisScript } from "./redis-script.ts";

const SHARED = `
local list, ids, meta = KEYS[1], KEYS[2], KEYS[3]
local function revision()
  local rev, count = unpack(redis.call('HMGET', meta, 'revision', 'count'))
  if not rev then return false end
  local whole = redis.call('LLEN', list) == tonumber(count or 0)
  if whole and redis.call('EXISTS', ids) == 0 and redis.call('HGET', meta, 'seq') then whole = false end
  if whole then return rev end
  redis.call('DEL', list, ids, meta)
  return false
end
local function finish(ttl)
  redis.call('HSET', meta, 'count', redis.call('LLEN', list))
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ttl) end
end
local function drop(count)
  for i = 1, count do
    local element = redis.call('LPOP', list)
    if not element then return end
    local characters, tokens = string.match(element, '^(%d+) (%d+) ')
    redis.call('HINCRBY', meta, 'characters', -tonumber(characters))
    redis.call('HINCRBY', meta, 'tokens', -tonumber(tokens))
  end
end
local function add(id, element, idsMax)
  local seq = redis.call('HINCRBY', meta, 'seq', 1)
  local characters, tokens = string.match(element, '^(%d+) (%d+) ')
  redis.call('RPUSH', list, element)
  redis.call('ZADD', ids, seq, id)
  redis.call('ZREMRANGEBYRANK', ids, 0, -(idsMax + 1))
  redis.call('HINCRBY', meta, 'characters', characters)
  redis.call('HINCRBY', meta, 'tokens', tokens)
end
local function trim(exchangesMax, charactersMax)
  drop(redis.call('LLEN', list) - exchangesMax)
  while redis.call('LLEN', list) > 1 and tonumber(redis.call('HGET', meta, 'characters')) > charactersMax do drop(1) end
end
`;

/** ARGV: time to live; the turn under way, or ''. Gives false, or {revision, pending, summary, its tokens, elements}. */
export const OPEN = new RedisScript(`${SHARED}
local rev = revision()
if not rev then return false end
local pending, summary, tokens = unpack(redis.call('HMGET', meta, 'pending', 'summary', 'summaryTokens'))
if ARGV[2] ~= '' then
  redis.call('HSET', meta, 'pending', ARGV[2])
  finish(ARGV[1])
end
return {rev, pending or '', summary or '', tokens or '0', redis.call('LRANGE', list, 0, -1)}
`);

/**
 * ARGV: time to live; '1' to create; a revision for a new context; the limits of exchanges, characters, ids; the
 * exchange's id and element. Gives {status, tokens}.
 */
export const APPEND = new RedisScript(`${SHARED}
if not revision() then
  if ARGV[2] ~= '1' then return {'missing', 0} end
  redis.call('HSET', meta, 'revision', ARGV[3])
end
local status = 'known'
if not redis.call('ZSCORE', ids, ARGV[7]) then
  status = 'appended'
  add(ARGV[7], ARGV[8], tonumber(ARGV[6]))
  trim(tonumber(ARGV[4]), tonumber(ARGV[5]))
end
if redis.call('HGET', meta, 'pending') == ARGV[7] then redis.call('HDEL', meta, 'pending') end
finish(ARGV[1])
return {status, tonumber(redis.call('HGET', meta, 'tokens') or 0)}
`);

/**
 * ARGV: time to live; the revision expected, '' for missing; the next one; the turn under way; the summary, its
 * tokens; the limits as in APPEND; then id and element of each exchange. Gives 1 or 0.
 */
export const REPLACE = new RedisScript(`${SHARED}
if (revision() or '') ~= ARGV[2] then return 0 end
redis.call('DEL', list, ids, meta)
redis.call('HSET', meta, 'revision', ARGV[3], 'pending', ARGV[4])
if ARGV[5] ~= '' then redis.call('HSET', meta, 'summary', ARGV[5], 'summaryTokens', ARGV[6]) end
for i = 10, #ARGV, 2 do add(ARGV[i], ARGV[i + 1], tonumber(ARGV[9])) end
trim(tonumber(ARGV[7]), tonumber(ARGV[8]))
finish(ARGV[1])
return 1
`);

/** ARGV: time to live; the revision expected; the next one; the last exchange to drop; the summary, its tokens. */
export const COMPACT = new RedisScript(`${SHARED}
if (revision() or '') ~= ARGV[2] then return 0 end
local length = redis.call('LLEN', list)
local seq = tonumber(redis.call('ZSCORE', ids, ARGV[4]) or 0)
local first = tonumber(redis.call('HGET', meta, 'seq') or 0) - length + 1
drop(math.min(seq - first + 1, length - 1))
redis.call('HSET', meta, 'revision', ARGV[3], 'summary', ARGV[5], 'summaryTokens', ARGV[6])
finish(ARGV[1])
return 1
`);
