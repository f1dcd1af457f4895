import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BatchTimes } from '../../server-agent/batch-times.ts'

const measured = (...times: number[]) => times.map((ms, i) => ({ batch: 2 ** i, ms }))

test('the best batch is the smallest that is about as fast per window as any', () => {
  assert.equal(new BatchTimes(measured(10, 12, 16, 31.8, 64)).best, 4)
  assert.equal(new BatchTimes(measured(10, 19, 30, 50)).best, 8)
  assert.equal(new BatchTimes(measured(10, 21)).best, 1)
  assert.equal(new BatchTimes().best, undefined)
})

test('times are known by size, and those of other sizes follow from the nearest, smaller first', () => {
  const times = new BatchTimes(measured(10, 16, 24))
  assert.equal(times.batchMs(3), 18)
  assert.equal(times.batchMs(2), 16)
  assert.equal(times.batchMs(16), 96)
  assert.equal(new BatchTimes([{ batch: 8, ms: 40 }]).batchMs(1), 5)
  assert.equal(new BatchTimes().batchMs(1), undefined)
})

test('a few batches change what is expected, one does not', () => {
  const times = new BatchTimes([{ batch: 1, ms: 10 }])
  times.record(1, 100)
  assert.ok(times.batchMs(1)! < 40)
  for (let i = 0; i < 5; i++) times.record(1, 100)
  assert.ok(times.batchMs(1)! > 80)
})
