import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPolicy, type Policy, type PolicyState } from '@faultline/inference'
import fc from 'fast-check'
import { AccuracyBounds } from '../../inference/policies/accuracy-bounds.ts'
import { Bins } from '../../inference/policies/bins.ts'
import { binary, make, Replay, samples } from './policy-support.ts'

const context = { price: 0.3 }
const near = (actual: number | undefined, expected: number, tolerance = 1e-6) =>
  assert.ok(Math.abs((actual ?? Number.NaN) - expected) <= tolerance, `${actual} is not ${expected}`)

test('one bin that is always right is accepted from the 17th window', () => {
  for (const name of ['hi-lcb', 'hi-lcb-lite']) {
    const policy = make(name, { alpha: 0.5, bins: 1, binning: 'equal-width' })
    const local = binary(0.01)
    const bounds: number[] = []
    const actions: string[] = []
    for (let t = 1; t <= 17; t++) {
      const { action, numbers, token } = policy.decide(local, context)
      bounds[t] = numbers.bound!
      actions.push(action)
      if (action === 'escalate') policy.learn({ local, remote: local, price: 0.3, token })
    }
    near(bounds[2], 0.411295)
    near(bounds[5], 0.551469)
    near(bounds[10], 0.642339)
    for (let t = 2; t <= 17; t++) near(bounds[t], 1 - Math.sqrt((0.5 * Math.log(t)) / (t - 1)))
    assert.deepEqual(actions, [...new Array(16).fill('escalate'), 'accept'])
  }
})

test('what is proven of a lower bin holds for a higher one, for HI-LCB but not for lite', () => {
  const parameters = { alpha: 0.5, bins: 2, binning: 'equal-width' }
  const decide = (name: string) => {
    const policy = make(name, parameters)
    const state = policy.snapshot() as PolicyState & { data: { rounds: number; memory: Record<string, number[]> } }
    state.data.rounds = 100
    state.data.memory.asked = [100, 0]
    state.data.memory.right = [100, 0]
    policy.restore(state)
    return policy.decide(binary(0.1), context)
  }
  const full = decide('hi-lcb')
  assert.equal(full.action, 'accept')
  near(full.numbers.bound, 0.8481, 5e-5)
  assert.equal(decide('hi-lcb-lite').action, 'escalate')
})

test('a model that is right in six of ten is never accepted at a price of 0.3', () => {
  const stream = Array.from({ length: 5_000 }, (_, i) => ({ local: binary(0.01), truth: binary(i % 5 < 2 ? 1 : 0) }))
  for (const name of ['hi-lcb', 'hi-lcb-lite']) {
    const { decisions } = new Replay(make(name), { price: 0.3 }).run(stream)
    assert.ok(decisions.every(({ action }) => action === 'escalate'))
  }
})

const counters = fc.array(
  fc.nat(200).chain(asked => fc.tuple(fc.constant(asked), fc.nat(asked))),
  { minLength: 2, maxLength: 12 },
)

function boundsOf(counts: readonly (readonly [number, number])[]): AccuracyBounds {
  const bounds = new AccuracyBounds(counts.length)
  bounds.asked = counts.map(([asked]) => asked)
  bounds.right = counts.map(([, right]) => right)
  return bounds
}

test('the bound of HI-LCB never falls from bin to bin, and is never below that of lite', () => {
  fc.assert(
    fc.property(counters, fc.integer({ min: 1, max: 1_000_000 }), (counts, t) => {
      const bounds = boundsOf(counts)
      const spread = 0.52 * Math.log(t)
      let last = Number.NEGATIVE_INFINITY
      for (let bin = 0; bin < counts.length; bin++) {
        const bound = bounds.lowerMonotone(bin, spread)
        assert.ok(bound >= last && bound >= bounds.lower(bin, spread))
        last = bound
      }
    }),
    { seed: 1 },
  )
})

test('what HI-LCB escalates, lite escalates with the same counters', () => {
  const share = fc.integer({ min: 0, max: 1_000 }).map(value => value / 1_000)
  fc.assert(
    fc.property(counters, share, share, fc.nat(10_000), (counts, fault, price, rounds) => {
      const parameters = { bins: counts.length, binning: 'equal-width' }
      const decide = (name: string) => {
        const policy = make(name, parameters)
        const state = policy.snapshot() as PolicyState & { data: { memory: Record<string, number[]> } }
        const bounds = boundsOf(counts)
        const memory = { ...state.data.memory, asked: bounds.asked, right: bounds.right }
        policy.restore({ ...state, data: { rounds, verdicts: [], memory } })
        return policy.decide(binary(fault), { price }).action
      }
      if (decide('hi-lcb') === 'escalate') assert.equal(decide('hi-lcb-lite'), 'escalate')
    }),
    { seed: 1, numRuns: 500 },
  )
})

const edgesOf = (policy: Policy) =>
  (policy.snapshot().data as { memory: { edges: number[] | null; asked: number[] } }).memory

test('edges are learned from the first answers, whose verdicts are not lost', () => {
  const stream = samples(1_000)
  const replay = new Replay(make('hi-lcb', { bins: 8, warmUp: 200 })).run(stream.slice(0, 199))
  assert.equal(edgesOf(replay.policy).edges, null)
  const asked = edgesOf(replay.policy).asked.reduce((sum, count) => sum + count)
  const last = replay.next(stream[199]!)
  const { edges, asked: sorted } = edgesOf(replay.policy)
  assert.equal(edges?.length, 7)
  assert.equal(
    sorted.reduce((sum, count) => sum + count),
    asked + (last.action === 'escalate' ? 1 : 0),
  )
  const bins = new Bins(edges!)
  const doubt = new Array<number>(8).fill(0)
  const doubts = stream.slice(0, 200).map(({ local }) => 1 - local.confidence)
  for (const value of doubts) doubt[bins.indexOf(1 - value)]! += value
  const even = doubts.reduce((sum, value) => sum + value) / 8
  for (const sum of doubt) assert.ok(Math.abs(sum - even) <= 2 * Math.max(...doubts), String(doubt))
})

test('edges come from the parameters, else from the bundle, else are learned', () => {
  const model = { edges: [0.7, 0.9] }
  const of = (parameters: Record<string, unknown>, bundle = {}) =>
    edgesOf(createPolicy({ name: 'hi-lcb', parameters }, bundle)).edges
  assert.deepEqual(of({ edges: [0.5] }, model), [0.5])
  assert.deepEqual(of({}, model), [0.7, 0.9])
  assert.equal(of({}), null)
  assert.deepEqual(of({ bins: 4, binning: 'equal-width' }, model), [0.25, 0.5, 0.75])
})

test('quantiles part a sample into equal weights, and never what is equal', () => {
  const even = () => 1
  assert.deepEqual(Bins.quantiles([4, 1, 3, 2], 2, even).edges, [3])
  assert.deepEqual(Bins.quantiles([0.5, 0.6, 0.7, 0.8, 0.9, 1], 3, even).edges, [0.7, 0.9])
  assert.deepEqual(Bins.quantiles([0.2, 0.6, 0.7, 0.9], 2, p => 1 - p).edges, [0.6])
  assert.deepEqual(Bins.quantiles([0.5, ...new Array(90).fill(1)], 10, even).edges, [1])
  for (const weightOf of [even, (p: number) => 1 - p])
    assert.equal(Bins.quantiles(new Array(100).fill(1), 16, weightOf).count, 1)
})

test('an edge belongs to the bin above it', () => {
  const bins = Bins.equalWidth(10)
  assert.deepEqual(
    [0, 0.1, 0.6, 0.7, 0.8, 0.99, 1].map(p => bins.indexOf(p)),
    [0, 1, 6, 7, 8, 9, 9],
  )
})
