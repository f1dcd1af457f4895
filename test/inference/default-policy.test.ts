import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Calibration, type Decision, Random } from '@faultline/inference'
import { type DefaultOptions, DefaultPolicy } from '../../inference/policies/default.ts'
import { withCode } from './bundles.ts'
import { answer, binary, type Sample, throughJson } from './policy-support.ts'

const make = (options: Partial<DefaultOptions> = {}) =>
  new DefaultPolicy({ bins: 16, checkBudget: 0.0002, seed: 1, ...options })

interface Stream {
  count: number
  /** How often an answer with this probability of "fault" or "normal", whichever is larger, is right. */
  rightOf: (confidence: number) => number
  seed?: number
}

function stream({ count, rightOf, seed = 1 }: Stream): Sample[] {
  const random = new Random(seed)
  return Array.from({ length: count }, () => {
    const confidence = 1 - 0.5 * random.uniform() ** 3
    const local = binary(random.uniform() < 0.5 ? confidence : 1 - confidence)
    const right = random.uniform() < rightOf(confidence)
    return { local, truth: binary(Number((local.label === 'fault') === right)) }
  })
}

const honest = (confidence: number) => confidence
const labelled = (samples: readonly Sample[]) =>
  samples.map(({ local, truth }) => ({ probabilities: local.probabilities, right: local.label === truth.label }))

interface Run {
  cost: number
  decisions: Decision[]
}

function run(policy: DefaultPolicy, samples: readonly Sample[], price: number): Run {
  let cost = 0
  const decisions = samples.map(({ local, truth }) => {
    const decision = policy.decide(local, { price })
    if (decision.action === 'escalate') {
      cost += price
      policy.learn({ local, remote: truth, price, token: decision.token })
    } else if (local.label !== truth.label) cost++
    return decision
  })
  return { cost: cost / samples.length, decisions }
}

const share = (decisions: readonly Decision[], reason: string) =>
  decisions.filter(decision => decision.reason === reason).length / decisions.length

const calibration = Calibration.fit(labelled(stream({ count: 2_000, rightOf: honest, seed: 9 })), { classes: 2 }).model

test('escalates where the answer is wrong more often than the price allows, whatever the price is now', () => {
  const policy = make({ calibration, checkBudget: 0 })
  const at = (confidence: number, price: number) => policy.decide(binary(confidence), { price }).action
  for (const confidence of [0.6, 0.75, 0.9, 0.97])
    for (const price of [0.02, 0.05, 0.15, 0.3]) {
      if (Math.abs(1 - confidence - price) < 0.015) continue
      assert.equal(at(confidence, price), 1 - confidence > price ? 'escalate' : 'accept', `${confidence} at ${price}`)
    }
  assert.equal(at(0.99, 0), 'escalate')
  assert.equal(at(0.51, 1), 'accept')
})

test('its numbers say why', () => {
  const { reason, numbers } = make({ calibration, checkBudget: 0 }).decide(binary(0.6), { price: 0.1 })
  assert.equal(reason, 'cheaper-to-ask')
  assert.equal(numbers.score, 0.6)
  assert.ok(1 - numbers.right! > numbers.price!)
})

test('checks cost no more than their budget, and none are made without one', () => {
  const samples = stream({ count: 40_000, rightOf: honest })
  for (const price of [0.05, 0.3]) {
    const { decisions } = run(make({ calibration }), samples, price)
    const checks = decisions.filter(({ reason }) => reason === 'checked')
    assert.ok(checks.length > 0)
    const quiet = checks.filter(({ numbers }) => numbers.checkRate! * price <= 0.0002 + 1e-12)
    assert.ok(quiet.length * price <= 1.3 * 0.0002 * samples.length, `${quiet.length} at ${price}`)
  }
  assert.equal(share(run(make({ calibration, checkBudget: 0 }), samples, 0.1).decisions, 'checked'), 0)
})

test('without a label, soon costs little more than with a calibration, and less than never or always asking', () => {
  const rightOf = (confidence: number) => 0.5 + 0.5 * (2 * confidence - 1) ** 2
  const samples = stream({ count: 10_000, rightOf })
  const known = Calibration.fit(labelled(stream({ count: 5_000, rightOf, seed: 8 })), { classes: 2 }).model
  const never = samples.filter(({ local, truth }) => local.label !== truth.label).length / samples.length
  for (const price of [0.05, 0.1, 0.2, 0.3]) {
    const { cost } = run(make(), samples, price)
    const warm = run(make({ calibration: known }), samples, price).cost
    assert.ok(cost < 1.08 * warm, `${cost} against ${warm} at ${price}`)
    assert.ok(cost < Math.min(never, price), `${cost} against ${Math.min(never, price)} at ${price}`)
  }
})

test('counters take over where the calibration is wrong about some answers', () => {
  // Nine in ten are right there, whatever the calibration says; no curve of few parameters follows that.
  const dented = (confidence: number) => (confidence > 0.85 && confidence < 0.9 ? 0.45 : confidence)
  const policy = make({ calibration })
  const samples = stream({ count: 20_000, rightOf: dented })
  const { decisions } = run(policy, samples, 0.12)
  assert.ok(share(decisions, 'counters-ask') + share(decisions, 'counters-accept') > 0.01)
  const late = samples.slice(-5_000).flatMap(({ local }, i) => {
    const decision = decisions[decisions.length - 5_000 + i]!
    return local.confidence > 0.86 && local.confidence < 0.89 ? [decision] : []
  })
  assert.ok(late.filter(({ action }) => action === 'escalate').length > 0.9 * late.length)
})

test('finds its feet within 2,000 windows after the answers have become worse', () => {
  const price = 0.05
  const worse = (confidence: number) => 0.85 * confidence
  const policy = make({ calibration })
  run(policy, stream({ count: 4_000, rightOf: honest }), price)
  const shocked = run(policy, stream({ count: 500, rightOf: worse, seed: 2 }), price).cost
  assert.ok(shocked > 1.5 * price, String(shocked))
  run(policy, stream({ count: 1_500, rightOf: worse, seed: 3 }), price)
  // More than one in twenty is wrong at any confidence now: asking always is best.
  const settled = run(policy, stream({ count: 2_000, rightOf: worse, seed: 4 }), price).cost
  assert.ok(settled < 1.1 * price, String(settled))
})

test('finds its way back once the answers are good again', () => {
  const policy = make({ calibration })
  run(policy, stream({ count: 4_000, rightOf: confidence => 0.85 * confidence, seed: 2 }), 0.05)
  const reference = make({ calibration })
  run(policy, stream({ count: 3_000, rightOf: honest, seed: 3 }), 0.05)
  const samples = stream({ count: 4_000, rightOf: honest, seed: 4 })
  const [back, best] = [run(policy, samples, 0.05).cost, run(reference, samples, 0.05).cost]
  assert.ok(back < 1.15 * best, `${back} against ${best}`)
})

test('nobody answering changes nothing but the lots', () => {
  const policy = make({ calibration })
  const before = policy.decide(binary(0.8), { price: 0.1 })
  for (const { local } of stream({ count: 1_000, rightOf: honest })) policy.decide(local, { price: 0.1 })
  assert.deepEqual(policy.decide(binary(0.8), { price: 0.1 }).numbers, before.numbers)
})

test('goes on where a model suddenly gives more classes or fewer', () => {
  const policy = make()
  for (const local of [answer(0.7, 0.2, 0.1), binary(0.8), answer(0.1, 0.1, 0.8), answer(0, 1, 0)]) {
    const { numbers, token } = policy.decide(local, { price: 0.1 })
    for (const value of Object.values(numbers)) assert.ok(Number.isFinite(value))
    policy.learn({ local, remote: local, price: 0.1, token })
  }
})

test('does not restore what was learned with another number of classes than its calibration has', () => {
  const three = make()
  three.decide(answer(0.7, 0.2, 0.1), { price: 0.1 })
  const state = throughJson(three.snapshot())
  assert.throws(() => make({ calibration }).restore(state), withCode('POLICY_STATE_INVALID'))
  make().restore(state)
})
