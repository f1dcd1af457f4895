import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ServerReach } from '@faultline/runtime'

const silent = (reach: ServerReach, windows = 5): void => {
  for (let i = 0; i < windows; i++) reach.late()
}

test('after five windows in a row without an answer nobody waits any more, but for a probe now and then', () => {
  let now = 0
  const reach = new ServerReach(() => now)
  silent(reach, 4)
  assert.ok(reach.reachable && reach.mayAsk())
  reach.late()
  assert.equal(reach.reachable, false)
  const probes: number[] = []
  for (; now < 400_000; now += 500) if (reach.mayAsk()) probes.push(now / 1_000)
  assert.deepEqual(probes, [1, 2, 4, 8, 16, 32, 64, 124, 184, 244, 304, 364])
  reach.heard()
  assert.ok(reach.reachable && reach.mayAsk())
})

test('an answer in between begins the count anew', () => {
  const reach = new ServerReach()
  silent(reach, 4)
  reach.answered()
  silent(reach, 4)
  assert.ok(reach.reachable)
})

test('a pause lasts as long as the longest that was asked for, and ten minutes at most', () => {
  let now = 0
  const reach = new ServerReach(() => now)
  assert.equal(reach.paused, false)
  reach.pause(500)
  reach.pause(0)
  now = 499
  assert.equal(reach.paused, true)
  now = 500
  assert.equal(reach.paused, false)
  reach.pause(1e300)
  now += 599_999
  assert.equal(reach.paused, true)
  now += 1
  assert.equal(reach.paused, false)
})

test('what is not always answered costs more, within bounds', () => {
  let now = 0
  const reach = new ServerReach(() => now)
  silent(reach, 4)
  assert.equal(reach.price(0.2), 0.2, 'four windows say little')
  for (let i = 0; i < 25; i++) {
    reach.answered()
    reach.late()
  }
  assert.equal(reach.answeredShare, 0.5)
  assert.equal(reach.price(0.2), 0.4)
  silent(reach, 50)
  assert.equal(reach.price(0.01).toFixed(6), '0.200000')
  assert.equal(reach.price(0.2), 1)
  now += 600_001
  assert.equal(reach.price(0.2), 0.2, 'what was ten minutes ago is forgotten')
  silent(reach, 20)
  reach.answered()
  assert.equal(reach.price(0.2), 0.2, 'and so is the time when they were gone')
})

test('a deadline is shortened to what verdicts take, and no further', () => {
  const reach = new ServerReach()
  assert.equal(reach.deadlineMs(5_000, undefined), 5_000)
  assert.equal(reach.deadlineMs(5_000, { p95: 20, samples: 19 }), 5_000)
  assert.equal(reach.deadlineMs(5_000, { p95: 20, samples: 20 }), 1_000)
  assert.equal(reach.deadlineMs(5_000, { p95: 700, samples: 20 }), 2_800)
  assert.equal(reach.deadlineMs(5_000, { p95: 4_000, samples: 20 }), 5_000)
  assert.equal(reach.deadlineMs(300, { p95: 20, samples: 20 }), 300)
})
