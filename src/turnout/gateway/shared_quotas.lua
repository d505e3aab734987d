-- Keeps what several gateways used of one account's quotas, and decides over it: every call is one atomic step.
--
-- KEYS[1]  the account's state, one msgpack value: so it is there as a whole or not at all, whatever the server evicts or
--          loses, and another type or damaged bytes at the key are the same as nothing.
-- ARGV     member, session, this server's run id, operation, arguments (msgpack).
--
-- What a member (a gateway) used stands in its own record, and a member that comes anew replaces its record by what it
-- knows itself: so a server that returns empty, or with an old copy, is repaired by its clients. After such a return (its
-- run id is another) the pool stays closed until the members that were known have told theirs, or a minute has passed.
-- A member holds a share: a part of each limit that only it may use, and that it needs nobody's leave for. The pool is the
-- limit less all shares, so that pool and shares together never exceed it. Commands of an earlier session of a member,
-- which may lie in the buffers of a server that slept, are ignored.
--
-- Amounts are arrays: requests a minute, tokens a minute, requests a day, tokens a day, at once. A limit of 0 is none.
-- Times are seconds of this server's clock, which is not let go backwards.

local SLOT = 0.25       -- entries of a quarter of a second are one, stamped with its end (core/quota_window.py)
local SPAN = 60.3       -- a window, a quarter of a second for travel, and what an answer of this server may take
local LOST = 665        -- a share that was not renewed ends after 600 s for its holder, and its last minute later here
local QUIET = 5         -- nobody heard for so long: this server slept, or nobody could reach it
local REJOIN = 1.5      -- then members have so long to come back (they try once a second) before anybody is served
local ALONE_MINUTES = 10
local ONE_BY_ONE = 0.25 -- so long a better claim waits for its owner once there may be room

local member, session, run, operation = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local given = cmsgpack.unpack(ARGV[5])
local parts = redis.call('TIME')
local clock = tonumber(parts[1]) + tonumber(parts[2]) / 1e6

local function load()
  local raw = redis.pcall('GET', KEYS[1])
  if type(raw) ~= 'string' then return nil end
  local ok, state = pcall(cmsgpack.unpack, raw)
  if ok and type(state) == 'table' and state.version == 1 then return state end
end

local state = load()
if not state then
  state = {version = 1, run = run, shift = 0, last = clock, born = clock, opens = clock + REJOIN, is_open = false,
           joined = {}, missing = {}, members = {}, quotas = {}}
end
if clock + state.shift < state.last then state.shift = state.last - clock end
local now = clock + state.shift
if state.run ~= run then   -- what we hold may be an old copy
  state.run, state.born, state.opens, state.is_open, state.joined = run, now, now + REJOIN, false, {}
  for name in pairs(state.members) do state.missing[name] = true end
elseif now - state.last > QUIET and next(state.members) then
  state.opens = now + REJOIN
end
state.last = now

local function save()
  redis.call('SET', KEYS[1], cmsgpack.pack(state))
end

local function count(map)
  local found = 0
  for _ in pairs(map) do found = found + 1 end
  return found
end

-- A claim is {rank, due, told}: when it will be asked again, and until when it goes first because it was told of room (0: it
-- was not). Its owner may have lost who wanted it, so it goes first for a moment only. Returns the end of that.
local function precedence(claim)
  return claim[3] > 0 and claim[3] or claim[2] + ONE_BY_ONE
end

local function is_empty(record)
  return not (record.slots[1] or record.share or next(record.busy) or record.head or record.day[1] > now)
end

-- Forget what is over, in every record of a quota; add up what is left.
local function tidy(quota)
  local sum = {0, 0, 0, 0, 0}   -- used, shares included
  local shares = {0, 0, 0, 0, 0}
  for name, record in pairs(quota.records) do
    while record.slots[1] and record.slots[1][1] + SPAN <= now do table.remove(record.slots, 1) end
    for id, ends in pairs(record.busy) do
      if ends <= now then record.busy[id] = nil end
    end
    if record.head and precedence(record.head) <= now then record.head = nil end
    local who = state.members[name]
    if record.share and not (who and now - who.seen < LOST) then
      if record.day[1] == quota.ends then   -- what a lost member was given of the day counts as used
        record.day[2] = record.day[2] + record.share[3]
        record.day[3] = record.day[3] + record.share[4]
      end
      record.share = nil
    end
    for _, slot in ipairs(record.slots) do
      sum[1], sum[2] = sum[1] + slot[2], sum[2] + slot[3]
    end
    if record.day[1] == quota.ends then
      sum[3], sum[4] = sum[3] + record.day[2] + record.spent[1], sum[4] + record.day[3] + record.spent[2]
    end
    sum[5] = sum[5] + count(record.busy)
    if record.share then
      for at = 1, 5 do shares[at] = shares[at] + record.share[at] end
    end
    if is_empty(record) and not who then quota.records[name] = nil end
  end
  return sum, shares
end

-- The quota of that name, with today's end. ends: what the caller takes for the end of the vendor's day, 0 for no day.
local function open_quota(name, ends)
  local quota = state.quotas[name]
  if not quota then
    quota = {ends = ends, known = {0, 0}, scarce = {0, 0, 0, 0, 0}, records = {}}
    state.quotas[name] = quota
  end
  if now >= quota.ends and ends > now then quota.ends, quota.known = ends, {0, 0} end
  return quota
end

local function record_of(quota)
  local record = quota.records[member]
  if not record then
    record = {slots = {}, day = {quota.ends, 0, 0}, spent = {0, 0}, busy = {}}
    quota.records[member] = record
  end
  if record.day[1] ~= quota.ends then
    record.day, record.spent = {quota.ends, 0, 0}, {0, 0}   -- the share stays: it is for whatever day comes
  end
  return record
end

-- What the members of today together do not account for, although one of them knew of it: a member's that is gone.
local function unaccounted(quota, sum)
  return math.max(0, quota.known[1] - sum[3]), math.max(0, quota.known[2] - sum[4])
end

local function close_books(quota)
  local requests, tokens = unaccounted(quota, (tidy(quota)))
  if requests > 0 or tokens > 0 then
    quota.records['?'] = {slots = {}, day = {quota.ends, requests, tokens}, spent = {0, 0}, busy = {}}
  end
  quota.known = {0, 0}
end

local function add(record, requests, tokens)
  local ends = (math.floor(now / SLOT) + 1) * SLOT
  local newest = record.slots[#record.slots]
  if newest and newest[1] >= ends then
    newest[2], newest[3] = newest[2] + requests, newest[3] + tokens
  else
    table.insert(record.slots, {ends, requests, tokens})
  end
end

local function take_back(record, stamp, requests, tokens)
  local ends = (math.floor(stamp / SLOT) + 1) * SLOT
  for _, slot in ipairs(record.slots) do
    if slot[1] == ends then slot[2], slot[3] = slot[2] - requests, slot[3] - tokens end
  end
end

-- Seconds until `over` fewer are in the window. at: 2 for requests, 3 for tokens.
local function until_freed(quota, over, at)
  local slots = {}
  for _, record in pairs(quota.records) do
    for _, slot in ipairs(record.slots) do table.insert(slots, slot) end
  end
  table.sort(slots, function(one, other) return one[1] < other[1] end)
  for _, slot in ipairs(slots) do
    over = over - slot[at]
    if over <= 0 then return slot[1] + SPAN - now end
  end
  return 1
end

-- Seconds until this many fit into the pool as far as is known, 0 for now. limits: of the caller's config.
local function wait_for_room(quota, limits, requests, tokens)
  local sum, shares = tidy(quota)
  local need = {requests, tokens, requests, tokens, 1}
  local wait = 0
  for at = 1, 5 do
    local over = sum[at] + shares[at] + need[at] - limits[at]
    if limits[at] > 0 and need[at] > 0 and over > 0 then
      quota.scarce[at] = now
      local room_in = 1   -- somebody's turn ends, or shares change: we are told, or look again
      if at <= 2 and shares[at] + need[at] <= limits[at] then room_in = until_freed(quota, over, at + 1) end
      if at == 3 or at == 4 then room_in = quota.ends - now end
      wait = math.max(wait, room_in)
    end
  end
  return wait
end

-- Seconds that a better claim of another member has precedence.
local function wait_for_others(quota, rank)
  local wait = 0
  for name, record in pairs(quota.records) do
    local claim = record.head
    if name ~= member and claim and claim[1] < rank and (claim[2] <= now or claim[3] > 0) and precedence(claim) > now then
      wait = math.max(wait, precedence(claim) - now)
    end
  end
  return wait
end

-- Tell the member with the best claim that there may be room.
local function wake(names)
  local told = {}
  for _, name in ipairs(names) do
    local quota, best, claim = state.quotas[name], nil, nil
    for other, record in pairs(quota and quota.records or {}) do
      local head = record.head
      if other ~= member and head and precedence(head) > now and (not best or head[1] < claim[1]) then
        best, claim = other, head
      end
    end
    if best then
      claim[3] = now + ONE_BY_ONE
      if not told[best] then redis.call('PUBLISH', 'turnout:wake:' .. best, KEYS[1]) end
      told[best] = true
    end
  end
end

local function closed_for()
  if now < state.opens then return state.opens - now end
  if now < state.born + SPAN and next(state.missing) then return 1 end
  if not state.is_open then
    for _, quota in pairs(state.quotas) do close_books(quota) end
    state.is_open, state.missing = true, {}
  end
  return 0
end

-- given: id, rank, requests, tokens, quotas: {name, limits, ends} each.
local function take()
  local who = state.members[member]
  if not (who and state.joined[member]) then return {'join', 0} end
  if session < who.session then return {'late', 0} end
  local wait = closed_for()
  if wait > 0 then return {'no', wait} end
  local names = {}
  for _, one in ipairs(given[5]) do
    local quota = open_quota(one[1], one[3])
    local record = record_of(quota)
    local mine = wait_for_room(quota, one[2], given[3], given[4])
    if one[3] > 0 and now >= quota.ends then mine = 1 end   -- for us the vendor's day is over, for the caller it is not
    mine = math.max(mine, wait_for_others(quota, given[2]))
    if mine > 0 and not (record.head and record.head[1] < given[2]) then
      record.head = {given[2], now + mine, 0}
    end
    wait = math.max(wait, mine)
    table.insert(names, one[1])
  end
  if wait > 0 then return {'no', wait} end
  for _, one in ipairs(given[5]) do
    local record = record_of(state.quotas[one[1]])
    add(record, given[3], given[4])
    record.day[2], record.day[3] = record.day[2] + given[3], record.day[3] + given[4]
    if one[2][5] > 0 then record.busy[given[1]] = now + given[6] end
    record.head = nil
  end
  wake(names)
  return {'yes', now}
end

-- given: changes, each {kind, id, names, stamp, requests, tokens}.
local function change()
  local who = state.members[member]
  if not who or session < who.session then return {'late', 0} end
  for _, one in ipairs(given) do
    local kind, id, names, stamp, requests, tokens = unpack(one)
    for _, name in ipairs(names) do
      local quota = state.quotas[name]
      local record = quota and quota.records[member]
      if record then
        local is_today = record.day[1] == quota.ends
        if kind == 'end' or kind == 'back' then record.busy[id] = nil end
        if kind == 'back' or (kind == 'settle' and tokens < 0) then
          take_back(record, stamp, requests, kind == 'settle' and -tokens or tokens)
        elseif kind == 'settle' then
          add(record, 0, tokens)
        elseif kind == 'sent' then
          take_back(record, stamp, requests, tokens)
          add(record, requests, tokens)
        end
        if is_today and kind == 'back' then
          record.day[2], record.day[3] = record.day[2] - requests, record.day[3] - tokens
        elseif is_today and kind == 'settle' then
          record.day[3] = record.day[3] + tokens
        end
      end
    end
    if kind == 'end' or kind == 'back' then wake(names) end
  end
  return {'yes', now}
end

-- How much of a limit a member should hold: half of the limit is for all shares. While the pool runs short, nobody holds
-- more than it wants (what it used in a minute, at least 1).
local function fair_share(limit, members, wanted, scarce)
  if limit == 0 then return 0 end
  local fair = math.floor(limit / (2 * members))
  if fair == 0 and members <= limit then fair = 1 end
  if now - scarce < SPAN then fair = math.min(fair, wanted) end
  return fair
end

-- One quota of a beat: {name, limits, ends, has, wanted, spent: {ends, requests, tokens}}. Returns what it is given
-- besides, how much it should hold at most, and what all used; to hold less is for the member itself, which may be
-- spending it at this moment.
local function renew(one, members)
  local name, limits, ends, has, wanted, spent = unpack(one)
  local quota = open_quota(name, ends)
  local record = record_of(quota)
  record.share = {unpack(has)}
  if spent[1] == quota.ends then
    record.spent = {spent[2], spent[3]}
  else   -- its day is not ours yet
    record.share[3], record.share[4] = has[3] + spent[2], has[4] + spent[3]
  end
  local sum, shares = tidy(quota)
  local lost_requests, lost_tokens = unaccounted(quota, sum)
  sum[3], sum[4] = sum[3] + lost_requests, sum[4] + lost_tokens
  local goal = {}
  for at = 1, 5 do goal[at] = fair_share(limits[at], members, wanted[at], quota.scarce[at]) end
  for at = 3, 4 do   -- of a day as much as ten minutes alone may need, and never more than a part of what is left
    goal[at] = math.floor(math.max(0, limits[at] - sum[at]) / (2 * members))
    if limits[at - 2] > 0 then goal[at] = math.min(goal[at], ALONE_MINUTES * goal[at - 2]) end
  end
  local more = {0, 0, 0, 0, 0}
  if closed_for() == 0 then
    for at = 1, 5 do
      more[at] = math.max(0, math.min(goal[at] - has[at], limits[at] - sum[at] - shares[at]))
      record.share[at] = record.share[at] + more[at]
    end
  end
  return {name, more, goal, sum}
end

-- given: known members, seeds or false, quotas, holds: {id, names} each, lease.
-- A seed: {name, ends, slots: {age, requests, tokens} each, day: {requests, tokens}, known: {requests, tokens}}.
local function join()
  local who = state.members[member]
  if who and session < who.session then return {'late', {}, {}, 0} end
  if not state.joined[member] and not given[2] then return {'seed', {}, {}, 0} end
  state.members[member] = {seen = now, session = session}
  state.missing[member] = nil
  if given[2] then
    state.joined[member] = true
    for _, other in ipairs(given[1]) do
      if not state.is_open and not state.joined[other] then state.missing[other] = true end
    end
    for _, seed in ipairs(given[2]) do
      local name, ends, slots, day, known = unpack(seed)
      local quota = open_quota(name, ends)
      local record = record_of(quota)
      record.slots, record.busy, record.head = {}, {}, nil
      for _, slot in ipairs(slots) do
        table.insert(record.slots, {(math.floor((now - slot[1]) / SLOT) + 1) * SLOT, slot[2], slot[3]})
      end
      if ends == quota.ends then
        record.day = {ends, day[1], day[2]}
        if not state.is_open then
          quota.known = {math.max(quota.known[1], known[1]), math.max(quota.known[2], known[2])}
        end
      end
    end
  end
  for _, hold in ipairs(given[4]) do
    for _, name in ipairs(hold[2]) do
      local quota = state.quotas[name]
      if quota then record_of(quota).busy[hold[1]] = now + given[5] end
    end
  end
  for name, other in pairs(state.members) do
    if now - other.seen >= LOST then state.members[name], state.joined[name] = nil, nil end
  end
  local names, shares = {}, {}
  for name in pairs(state.members) do table.insert(names, name) end
  for _, one in ipairs(given[3]) do table.insert(shares, renew(one, #names)) end
  return {'yes', names, shares, closed_for()}
end

-- A member that ends cleanly: its seeds are all that it used, by its share too, and it holds nothing any more.
local function leave()
  local who = state.members[member]
  if not who or session < who.session then return {'late', 0} end
  state.members[member], state.joined[member], state.missing[member] = nil, nil, nil
  local names = {}
  for _, seed in ipairs(given) do
    local quota = state.quotas[seed[1]]
    local record = quota and quota.records[member]
    if record then
      record.slots, record.busy, record.head, record.share = {}, {}, nil, nil
      for _, slot in ipairs(seed[3]) do
        table.insert(record.slots, {(math.floor((now - slot[1]) / SLOT) + 1) * SLOT, slot[2], slot[3]})
      end
      if seed[2] == quota.ends then record.day, record.spent = {seed[2], seed[4][1], seed[4][2]}, {0, 0} end
      table.insert(names, seed[1])
    end
  end
  wake(names)
  return {'yes', now}
end

local answer = ({take = take, change = change, join = join, leave = leave})[operation]()
save()
return cmsgpack.pack(answer)
