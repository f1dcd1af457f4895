import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SteadyClock, type TimeSource } from '@faultline/runtime'

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const noon = Date.UTC(2027, 0, 1, 12)

/** Two clocks of the test's own: both go on, and one of them can be set. */
function clocks(wall = noon): TimeSource & { pass(ms: number): void; set(wall: number): void } {
  let monotonic = 1_000
  return {
    wall: () => wall,
    monotonic: () => monotonic,
    pass(ms) {
      wall += ms
      monotonic += ms
    },
    set(time) {
      wall = time
    },
  }
}

test('it goes with the wall clock as long as nobody sets it', () => {
  const source = clocks()
  const clock = new SteadyClock(0, source)
  assert.equal(clock.now(), noon)
  source.pass(dayMs)
  assert.equal(clock.now(), noon + dayMs)
})

test('a wall clock that is two days ahead for an hour costs an hour', () => {
  const source = clocks()
  const clock = new SteadyClock(0, source)
  clock.now()
  source.set(noon + 2 * dayMs)
  assert.equal(clock.now(), noon)
  source.pass(hourMs)
  assert.equal(clock.now(), noon + 2 * hourMs)
  source.set(noon + 2 * hourMs)
  assert.equal(clock.now(), noon + 2 * hourMs)
})

test('it does not go back with a wall clock, and goes on', () => {
  const source = clocks()
  const clock = new SteadyClock(0, source)
  clock.now()
  source.set(0)
  source.pass(hourMs)
  assert.equal(clock.now(), noon + hourMs)
})

test('the days a machine was off are made up for, and no more', () => {
  const source = clocks(noon + 3 * dayMs)
  const clock = new SteadyClock(noon, source)
  assert.equal(clock.now(), noon)
  source.pass(2 * dayMs)
  assert.equal(clock.now(), noon + 4 * dayMs)
  source.pass(2 * dayMs)
  assert.equal(clock.now(), noon + 7 * dayMs)
})

test('a clock that nobody has set yet is not one to begin with', () => {
  const source = clocks(0)
  const clock = new SteadyClock(0, source)
  source.pass(hourMs)
  assert.equal(clock.now(), hourMs)
  source.set(noon)
  assert.equal(clock.now(), noon)
})
