-- Draws from buckets and from a month's quota, from all of them or from none, by this server's clock.
--
-- KEYS: the buckets, then the quota's counter if there is one.
-- ARGV: how many buckets; for each of them the amount, the capacity and the leak per microsecond; then for the quota its
-- limit, the units, the least that the counter stands at, what was counted elsewhere and is to be added, whether an
-- absent counter may be begun, and its lifetime in seconds.
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

local counter = KEYS[buckets + 1]
local count, drawn
if counter then
  local of_quota = 3 * buckets + 2
  local limit, units = tonumber(ARGV[of_quota]), tonumber(ARGV[of_quota + 1])
  count = redis.call('GET', counter)
  if not count and ARGV[of_quota + 4] == '0' then
    return {-1}
  end
  local found = tonumber(count)
  count = math.max(found or 0, tonumber(ARGV[of_quota + 2])) + tonumber(ARGV[of_quota + 3])
  if units > 0 and count + units > limit then
    answer[1] = 0
  end
  if answer[1] == 1 then
    count = math.max(0, count + units)
  end
  if count ~= found then
    redis.call('SET', counter, string.format('%.0f', count), 'EX', ARGV[of_quota + 5])
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
