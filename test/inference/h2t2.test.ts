import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type PairLosses, ThresholdPairs } from '../../inference/policies/threshold-pairs.ts'
import { binary, make, Replay } from './policy-support.ts'

const close = (actual: readonly number[], expected: readonly number[], tolerance = 1e-6) => {
  for (const [i, value] of expected.entries())
    assert.ok(Math.abs(actual[i]! - value) <= tolerance, `${actual} is not ${expected}`)
}

test('shares and weights are those of the worked example', () => {
  const policy = make('h2t2', { bins: 4, missedFault: 1, falseAlarm: 0.5, explorationRate: 0.25, step: 0.1 })
  const pairs = new ThresholdPairs(4)
  const shares: number[][] = []
  const rounds: [bin: number, fault: 0 | 1, explored: 0 | 1][] = [
    [1, 1, 1],
    [3, 0, 1],
    [2, 1, 0],
  ]
  for (const [i, [bin, fault, explored]] of rounds.entries()) {
    const { low, high, escalate } = pairs.shares(bin)
    shares.push([low, high, escalate])
    const token = { round: i + 1, explorationRate: explored * 0.25 }
    policy.learn({ local: binary(bin / 4 + 0.1), remote: binary(fault), price: 0.2, token })
    const { memory } = policy.snapshot().data as { memory: { lower: number[]; upper: number[] } }
    pairs.logs = memory
  }
  close(shares[0]!, [0.4, 0.2, 0.4])
  close(shares[1]!, [0.05195, 0.692217, 0.255833])
  close(shares[2]!, [0.167237, 0.410925, 0.421838])
  const weights = (
    [
      [2, 3],
      [0, 0],
      [4, 4],
      [1, 4],
    ] as const
  ).map(([l, u]) => Math.exp(pairs.logWeight(l, u)))
  close(weights, [0.537944, 0.818731, 0.67032, 0.941765])
})

const loss = fc.integer({ min: 0, max: 4_000 }).map(value => value / 100)
const charges = fc.array(fc.tuple(fc.nat(5), fc.record({ low: loss, high: loss, escalate: loss })), { maxLength: 40 })

/** All pairs, one by one, as the paper has them. */
function plainShares(bins: number, rounds: readonly (readonly [number, PairLosses])[], bin: number) {
  const logs: { l: number; u: number; log: number }[] = []
  for (let l = 0; l <= bins; l++) {
    for (let u = l; u <= bins; u++) {
      const opinion = (k: number) => (k < l ? 'low' : k >= u ? 'high' : 'escalate')
      logs.push({ l, u, log: -rounds.reduce((sum, [k, losses]) => sum + losses[opinion(k)], 0) })
    }
  }
  const largest = Math.max(...logs.map(({ log }) => log))
  const shares = { low: 0, high: 0, escalate: 0 }
  let total = 0
  for (const { l, u, log } of logs) {
    const weight = Math.exp(log - largest)
    total += weight
    shares[bin < l ? 'low' : bin >= u ? 'high' : 'escalate'] += weight
  }
  return [shares.low / total, shares.high / total, shares.escalate / total]
}

test('two rows of logarithms stand for all pairs of thresholds', () => {
  fc.assert(
    fc.property(charges, rounds => {
      const pairs = new ThresholdPairs(6)
      for (const [bin, losses] of rounds) pairs.charge(bin, losses)
      for (let bin = 0; bin < 6; bin++) {
        const { low, high, escalate } = pairs.shares(bin)
        close([low, high, escalate], plainShares(6, rounds, bin), 1e-9)
      }
    }),
    { seed: 1 },
  )
})

test('the pair that is best alone wins, even where the best single thresholds do not go together', () => {
  const pairs = new ThresholdPairs(4)
  // Low scores are faults and high ones are normal: either threshold alone would like to be on the wrong side.
  for (let i = 0; i < 1_000; i++) {
    pairs.charge(0, { low: 1, high: 0, escalate: 0.9 })
    pairs.charge(3, { low: 0, high: 1, escalate: 0.9 })
  }
  for (let bin = 0; bin < 4; bin++) {
    const { low, high, escalate } = pairs.shares(bin)
    close([low + high + escalate], [1], 1e-9)
  }
})

test('it comes to accept what is sure on both sides and to ask in between', () => {
  const policy = make('h2t2', { bins: 8, horizon: 20_000 })
  const replay = new Replay(policy, { price: 0.2, delay: 4 })
  for (let i = 0; i < 20_000; i++) {
    const [fault, truth] = [
      [0.02, 0],
      [0.55, i % 6 === 1 ? 1 : 0],
      [0.98, 1],
    ][i % 3] as [number, number]
    replay.next({ local: binary(fault), truth: binary(truth) })
  }
  const shares = (fault: number) => policy.decide(binary(fault), { price: 0.2 }).numbers
  assert.ok(shares(0.02).normalShare! > 0.9)
  assert.ok(shares(0.98).faultShare! > 0.9)
  const between = shares(0.55)
  assert.ok(1 - between.normalShare! - between.faultShare! > 0.8, JSON.stringify(between))
})

test('a window that the thresholds call otherwise than the model is escalated', () => {
  const policy = make('h2t2', { bins: 2, explorationRate: 1e-6, step: 1 })
  // Explorations say that what the model calls normal, at 0.3, are faults.
  for (let i = 0; i < 20; i++) {
    const token = { round: i + 1, explorationRate: 0.01 }
    policy.learn({ local: binary(0.3), remote: binary(1), price: 1, token })
  }
  const decisions = Array.from({ length: 200 }, () => policy.decide(binary(0.3), { price: 1 }))
  assert.ok(decisions.every(({ action }) => action === 'escalate'))
  assert.ok(decisions.some(({ reason }) => reason === 'called-otherwise'))
})
