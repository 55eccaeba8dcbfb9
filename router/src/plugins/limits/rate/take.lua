-- Draws from buckets and from a month's quota, from all of them or from none, by this server's clock.
--
-- KEYS: the buckets, then the quota's counter if there is one, then where it is kept what of one router's own counts was
-- added to it, if there are any.
-- ARGV: how many buckets; for each of them the amount, the capacity and the leak per microsecond; then for the quota its
-- limit, the units, the least that the counter stands at, whether an absent counter may be begun, its lifetime in seconds,
-- and the sum of the router's own counts.
--
-- Answers whether it was drawn (1), refused (0) or a counter has to be begun (-1), then each level and the count.
-- A negative amount gives back.

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local buckets = tonumber(ARGV[1])
local answer = {1}
local amounts, leaks = {}, {}

for i = 1, buckets do
  local amount, capacity, leak = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local level = 0
  local kept = redis.call('GET', KEYS[i])
  if kept then
    local was, at = string.match(kept, '^(%d+) (%d+)$')
    level = math.max(0, tonumber(was) - math.max(0, now - tonumber(at)) * leak)
  end
  if amount >= 0 and level > capacity - math.min(amount, capacity) then
    answer[1] = 0
  end
  amounts[i], leaks[i], answer[i + 1] = amount, leak, level
end

local counter, added = KEYS[buckets + 1], KEYS[buckets + 2]
local count
if counter then
  local of_quota = 3 * buckets + 2
  local limit, units, life = tonumber(ARGV[of_quota]), tonumber(ARGV[of_quota + 1]), ARGV[of_quota + 4]
  count = redis.call('GET', counter)
  if not count and ARGV[of_quota + 3] == '0' then
    return {-1}
  end
  local found = tonumber(count)
  count = math.max(found or 0, tonumber(ARGV[of_quota + 2]))
  if added then
    local sum = tonumber(ARGV[of_quota + 5])
    local owed = sum - tonumber(redis.call('GET', added) or 0)
    if owed > 0 then
      count = count + owed
      redis.call('SET', added, string.format('%.0f', sum), 'EX', life)
    end
  end
  if units > 0 and count + units > limit then
    answer[1] = 0
  end
  if answer[1] == 1 then
    count = math.max(0, count + units)
  end
  if count ~= found then
    redis.call('SET', counter, string.format('%.0f', count), 'EX', life)
  end
end

if answer[1] == 1 then
  for i = 1, buckets do
    local level = math.max(0, answer[i + 1] + amounts[i])
    if amounts[i] ~= 0 then
      local life = math.ceil(level / leaks[i] / 1000) + 1
      redis.call('SET', KEYS[i], string.format('%.0f %.0f', level, now), 'PX', string.format('%.0f', life))
    end
    answer[i + 1] = level
  end
end

if count then
  answer[#answer + 1] = count
end
return answer
