import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Verdict } from '@faultline/protocol'
import fc from 'fast-check'
import { WindowCounters } from '../../device-agent/decisions/counters.ts'
import { Escalations, type Settlement } from '../../device-agent/decisions/escalations.ts'

const deadlineMs = 100
const point = 'motor-de'

function answer(id: string): Verdict {
  return {
    id,
    label: 'fault',
    confidence: 0.99,
    probabilities: [0.01, 0.99],
    model: { name: 'big', version: '1.0.0', digest: `sha256:${'2'.repeat(64)}` },
    agent: 'server-1',
    queueMs: 0,
    inferMs: 1,
  }
}
const rejection = (id: string): Verdict => ({ id, rejected: 'overloaded' })

/** Escalations that write down what became of each window. */
function ledger() {
  const counters = new WindowCounters()
  const settlements = new Map<string, Settlement['outcome'][]>()
  const revisions = new Map<string, number>()
  const escalations = new Escalations<string>({
    settled: (id, { outcome }) => {
      counters.settle(outcome)
      settlements.set(id, [...(settlements.get(id) ?? []), outcome])
    },
    revised: id => void revisions.set(id, (revisions.get(id) ?? 0) + 1),
  })
  const escalate = (id: string) => {
    counters.escalate()
    escalations.add(id, point, id, deadlineMs)
  }
  return { counters, settlements, revisions, escalations, escalate }
}

test('a verdict before the deadline settles a window, and the deadline then passes unnoticed', t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { escalations, escalate, settlements, revisions } = ledger()
  escalate('a')
  t.mock.timers.tick(deadlineMs - 1)
  escalations.receive(point, answer('a'))
  t.mock.timers.tick(deadlineMs)
  assert.deepEqual(settlements.get('a'), ['answered'])
  assert.equal(revisions.size, 0)
})

test('a verdict after the deadline revises once, however often it comes', t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { escalations, escalate, settlements, revisions } = ledger()
  escalate('a')
  t.mock.timers.tick(deadlineMs)
  assert.deepEqual(settlements.get('a'), ['late'])
  for (let i = 0; i < 3; i++) escalations.receive(point, answer('a'))
  assert.equal(revisions.get('a'), 1)
  assert.deepEqual(settlements.get('a'), ['late'])
})

test('a verdict for an unknown window, or for another point, changes nothing', t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { escalations, escalate, settlements } = ledger()
  escalate('a')
  escalations.receive(point, answer('b'))
  escalations.receive('motor-fe', answer('a'))
  assert.equal(settlements.size, 0)
  assert.equal(escalations.size, 1)
})

test('of many late windows the oldest are forgotten', t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { escalations, escalate, revisions } = ledger()
  for (let i = 0; i < 1_200; i++) escalate(`w${i}`)
  t.mock.timers.tick(deadlineMs)
  for (let i = 0; i < 1_200; i++) escalations.receive(point, answer(`w${i}`))
  assert.equal(revisions.size, 1_000)
  assert.ok(!revisions.has('w199') && revisions.has('w200'))
})

test('whatever happens in whatever order, the counters sum and each window ends once', t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const event = fc.oneof(
    fc.record({
      what: fc.constantFrom('accept', 'no-connection', 'escalate', 'verdict', 'rejection', 'unsent'),
      number: fc.nat({ max: 9 }),
    }),
    fc.record({ what: fc.constant('time'), number: fc.integer({ min: 1, max: 150 }) }),
  )
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), events => {
      const { counters, settlements, revisions, escalations, escalate } = ledger()
      let windows = 0
      let escalated = 0
      for (const event of events) {
        if (event.what === 'time') t.mock.timers.tick(event.number)
        else if (event.what === 'escalate') escalate(`w${escalated++}`)
        else if (event.what === 'accept') counters.conclude('accepted')
        else if (event.what === 'no-connection') counters.conclude('offline')
        else if (event.what === 'verdict') escalations.receive(point, answer(`w${event.number}`))
        else if (event.what === 'rejection') escalations.receive(point, rejection(`w${event.number}`))
        else escalations.abandon(`w${event.number}`)
        if (['accept', 'no-connection', 'escalate'].includes(event.what)) windows++

        const { accepted, answered, late, rejected, offline, withheld, pending, windows: counted } = counters.snapshot()
        assert.equal(counted, windows)
        assert.equal(accepted + answered + late + rejected + offline + withheld + pending, windows)
        assert.equal(pending, escalations.size)
      }
      escalations.abandonAll()
      assert.equal(counters.snapshot().pending, 0)
      assert.equal(settlements.size, escalated)
      for (const outcomes of settlements.values()) assert.equal(outcomes.length, 1)
      for (const [id, count] of revisions) {
        assert.equal(count, 1)
        assert.deepEqual(settlements.get(id), ['late'])
      }
    }),
    { numRuns: 300 },
  )
})
