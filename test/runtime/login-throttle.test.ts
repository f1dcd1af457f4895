import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addressKey, LoginThrottle } from '@faultline/runtime'

test('failures are forgiven as time goes by, so many a minute, address by address', t => {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const throttle = new LoginThrottle(6)
  for (let i = 0; i < 6; i++) {
    assert.equal(throttle.isExhausted('a'), false)
    throttle.failed('a')
  }
  assert.equal(throttle.isExhausted('a'), true)
  assert.equal(throttle.isExhausted('b'), false)
  now = 9_999
  assert.equal(throttle.isExhausted('a'), true)
  now = 10_000 // A sixth of a minute.
  assert.equal(throttle.isExhausted('a'), false)
  throttle.failed('a')
  assert.equal(throttle.isExhausted('a'), true)
  now = 3_600_000
  for (let i = 0; i < 6; i++) throttle.failed('a')
  assert.equal(throttle.isExhausted('a'), true, 'a long rest allows no more than a full minute')
})

test('what is remembered of addresses is bounded', t => {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const throttle = new LoginThrottle(1)
  for (let i = 0; i < 25_000; i++) {
    now += 0.001
    throttle.failed(`address ${i}`)
  }
  const { buckets } = throttle as unknown as { buckets: Map<string, unknown> }
  assert.ok(buckets.size <= 10_000)
  assert.equal(throttle.isExhausted('address 24999'), true)
})

test('a host of IPv6 is its /64, and IPv4 inside IPv6 is IPv4', () => {
  const key = (remoteAddress: string) => addressKey({ remoteAddress })
  assert.equal(key('192.0.2.7'), '192.0.2.7')
  assert.equal(key('::ffff:192.0.2.7'), '192.0.2.7')
  assert.equal(key('2001:db8:1:2:3:4:5:6'), key('2001:db8:1:2:ffff::1'))
  assert.equal(key('2001:db8:1:2::1'), '2001:db8:1:2::/64')
  assert.notEqual(key('2001:db8:1:2::1'), key('2001:db8:1:3::1'))
  assert.equal(key('2001:db8::1'), '2001:db8:0:0::/64')
  assert.equal(key('::1'), '0:0:0:0::/64')
  assert.equal(key('fe80::1%eth0'), 'fe80:0:0:0::/64')
  assert.equal(addressKey({ remoteAddress: undefined }), '')
})
