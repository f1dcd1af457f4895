import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LocalResult, Policy } from '@faultline/inference'
import { bestExploration } from '../../inference/policies/exploration.ts'
import { hilFStep } from '../../inference/policies/hil-f.ts'
import { binary, make, Replay, throughJson } from './policy-support.ts'

const tenths = Array.from({ length: 10 }, (_, i) => (i + 1) / 10)
/** Confidence p in "normal", right or wrong. */
const round = (p: number, wrong: 0 | 1): { local: LocalResult; remote: LocalResult } => ({
  local: binary(1 - p),
  remote: binary(wrong),
})
const close = (actual: readonly number[], expected: readonly number[], tolerance = 1e-6) => {
  assert.equal(actual.length, expected.length)
  for (const [i, value] of expected.entries())
    assert.ok(Math.abs(actual[i]! - value) <= tolerance, `${actual} is not ${expected}`)
}
/** Weights of the thresholds at tenths, the first of each kind. */
const weights = (policy: Policy, at: readonly number[]) => {
  const { memory } = policy.snapshot().data as { memory: { logs: number[] } }
  return at.map(index => Math.exp(memory.logs[index]!))
}
/** q at a confidence, asked of a copy so that the policy itself stays as it is. */
const acceptShare = (policy: Policy, name: string, parameters: Record<string, unknown>, p: number) => {
  const copy = make(name, parameters)
  copy.restore(throughJson(policy.snapshot()))
  return copy.decide(round(p, 0).local, { price: 0.5 }).numbers.acceptShare!
}

test('HIL-F shares and weights are those of the worked example', () => {
  const parameters = { thresholds: tenths, step: 1 }
  const policy = make('hil-f', parameters)
  const shares: number[] = []
  const steps: number[][] = []
  for (const [p, wrong] of [
    [0.6, 1],
    [0.8, 0],
    [0.6, 0],
  ] as const) {
    const lesson = round(p, wrong)
    const { numbers, token } = policy.decide(lesson.local, { price: 0.5 })
    shares.push(numbers.acceptShare!)
    policy.learn({ ...lesson, price: 0.5, token })
    // On [0, 0.6], (0.6, 0.8] and (0.8, 1].
    steps.push(weights(policy, [0, 6, 8]))
  }
  close(shares, [0.6, 0.738192, 0.531094])
  close(steps[0]!, [0.367879, 0.606531, 0.606531])
  close(steps[1]!, [0.367879, 0.606531, 0.367879])
  close(steps[2]!, [0.367879, 0.367879, 0.22313])
})

test('HIL-N shares and weights are those of the worked example', () => {
  const parameters = { thresholds: tenths, step: 0.4, explorationRate: 0.25 }
  const policy = make('hil-n', parameters)
  const shares: number[] = []
  const steps: number[][] = []
  for (const [i, [p, wrong, explored]] of (
    [
      [0.6, 1, 0],
      [0.8, 1, 1],
      [0.7, 0, 1],
      [0.7, 0, 0],
    ] as const
  ).entries()) {
    shares.push(acceptShare(policy, 'hil-n', parameters, p))
    policy.learn({ ...round(p, wrong), price: 0.5, token: { round: i + 1, explorationRate: explored * 0.25 } })
    // On [0, 0.6], (0.6, 0.7], (0.7, 0.8] and (0.8, 1].
    steps.push(weights(policy, [0, 6, 7, 8]))
  }
  close(shares, [0.6, 0.823453, 0.477579, 0.527536])
  close(steps[0]!, [1, 0.818731, 0.818731, 0.818731])
  close(steps[1]!, [0.201897, 0.165299, 0.165299, 0.67032])
  close(steps[2]!, [0.201897, 0.165299, 0.135335, 0.548812])
  close(steps[3]!, [0.201897, 0.165299, 0.110803, 0.449329])
})

test('HIL-N charges an accepted window at once, an escalated one with its verdict, an error only where it explored', () => {
  const parameters = { thresholds: tenths, step: 0.4, explorationRate: 0.25 }
  const seen = new Set<string>()
  for (let seed = 0; seed < 40; seed++) {
    const policy = make('hil-n', parameters, seed)
    const lesson = round(0.7, 1)
    const { action, reason, token } = policy.decide(lesson.local, { price: 0.5 })
    seen.add(reason)
    assert.equal(token === undefined, action === 'accept')
    close(weights(policy, [0, 9]), [1, action === 'accept' ? Math.exp(-0.2) : 1])
    policy.learn({ ...lesson, price: 0.5, token })
    close(weights(policy, [0, 9]), [reason === 'explored' ? Math.exp(-1.6) : 1, Math.exp(-0.2)])
  }
  assert.equal(seen.size, 3)
})

test('the parameters are those that minimise the bounds', () => {
  const { rate, step, bound } = bestExploration(10_000, 256, 0.5)
  close([rate, step], [0.1035, 0.01071], 5e-5)
  close([bound], [1552.6], 0.05)
  close([hilFStep(10_000, 256)], [Math.sqrt((8 * 8 * Math.LN2) / 10_000)], 1e-12)
  // Where exploring is free it is done always.
  assert.equal(bestExploration(10_000, 256, 0).rate, 1)
  const other = bestExploration(10_000, 256, 0.5, 0.05)
  assert.equal(other.rate, 0.05)
  assert.ok(other.bound > bound)
})

test('HIL-F, told everything, comes to accept where the model is right more often than asking costs', () => {
  const policy = make('hil-f', { thresholds: tenths, horizon: 4_000 })
  for (let i = 0; i < 4_000; i++) {
    // Right nine times in ten at 0.95, four times in ten at 0.55.
    const lesson = i % 2 ? round(0.95, i % 20 === 1 ? 1 : 0) : round(0.55, i % 10 < 6 ? 1 : 0)
    const { token } = policy.decide(lesson.local, { price: 0.3 })
    policy.learn({ ...lesson, price: 0.3, token })
  }
  assert.ok(policy.decide(round(0.95, 0).local, { price: 0.3 }).numbers.acceptShare! > 0.95)
  assert.ok(policy.decide(round(0.55, 0).local, { price: 0.3 }).numbers.acceptShare! < 0.05)
})

test('HIL-N reaches the same, told of its escalations alone', () => {
  const policy = make('hil-n', { thresholds: tenths, horizon: 20_000 })
  const replay = new Replay(policy, { price: 0.3, delay: 5 })
  for (let i = 0; i < 20_000; i++) {
    const { local, remote } = i % 2 ? round(0.95, i % 20 === 1 ? 1 : 0) : round(0.55, i % 10 < 6 ? 1 : 0)
    replay.next({ local, truth: remote })
  }
  assert.ok(acceptShare(policy, 'hil-n', { thresholds: tenths, horizon: 20_000 }, 0.95) > 0.9)
  assert.ok(acceptShare(policy, 'hil-n', { thresholds: tenths, horizon: 20_000 }, 0.55) < 0.1)
})

for (const name of ['hil-n', 'h2t2']) {
  test(`${name} learns nothing from a verdict without its token`, () => {
    const policy = make(name)
    const before = policy.snapshot()
    policy.learn({ ...round(0.9, 1), price: 0.2 })
    assert.deepEqual(policy.snapshot(), before)
  })

  test(`an outage does not talk ${name} into accepting everything`, () => {
    const policy = make(name, { horizon: 20_000, explorationRate: 0.1 })
    const escalated = () => {
      const copy = make(name, { horizon: 20_000, explorationRate: 0.1 }, 3)
      copy.restore(throughJson(policy.snapshot()))
      const decisions = Array.from({ length: 500 }, () => copy.decide(binary(0.35), { price: 0.2 }))
      return decisions.filter(({ action }) => action === 'escalate').length / decisions.length
    }
    const before = escalated()
    const stream = Array.from({ length: 40_000 }, () => ({ local: binary(0.35), truth: binary(1) }))
    new Replay(policy, { price: 0.2, arrives: () => false }).run(stream)
    assert.ok(escalated() > before - 0.1, `${before} before and ${escalated()} after`)
  })
}
