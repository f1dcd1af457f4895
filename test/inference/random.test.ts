import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '@faultline/inference'

const draw = (random: Random, count: number) => Array.from({ length: count }, () => random.uniform())

test('the same seed gives the same numbers, another seed others', () => {
  assert.deepEqual(draw(new Random(42), 100), draw(new Random(42), 100))
  for (const seed of [0, 1, 43, 42 + 2 ** 32]) assert.notDeepEqual(draw(new Random(seed), 4), draw(new Random(42), 4))
})

test('a generator goes on from a saved state', () => {
  const random = new Random(7)
  draw(random, 13)
  const { state } = random
  assert.deepEqual(draw(new Random(state), 50), draw(random, 50))
})

test('uniform numbers fill [0, 1) evenly', () => {
  const random = new Random(3)
  const cells = new Array<number>(10).fill(0)
  for (const value of draw(random, 100_000)) {
    assert.ok(value >= 0 && value < 1)
    cells[Math.floor(value * 10)]!++
  }
  // Five standard deviations of a cell's count.
  for (const count of cells) assert.ok(Math.abs(count - 10_000) < 5 * Math.sqrt(9_000), String(cells))
})

test('normal numbers have mean 0, variance 1 and the right tails', () => {
  const random = new Random(4)
  const values = Array.from({ length: 100_000 }, () => random.normal())
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length
  const variance = values.reduce((sum, x) => sum + x * x, 0) / values.length
  assert.ok(Math.abs(mean) < 0.016 && Math.abs(variance - 1) < 0.023, `${mean} ${variance}`)
  const beyond = values.filter(x => Math.abs(x) > 1.96).length / values.length
  assert.ok(Math.abs(beyond - 0.05) < 0.004, String(beyond))
})
