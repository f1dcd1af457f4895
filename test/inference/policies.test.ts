import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createPolicy, type LocalResult, type PolicyState } from '@faultline/inference'
import fc from 'fast-check'
import { withCode } from './bundles.ts'
import { answer, countNumbers, learned, make, makers, model, Replay, samples, throughJson } from './policy-support.ts'

const context = { price: 0.2 }

const invalid: Record<string, LocalResult> = {
  'not a number': answer(Number.NaN, 0.5, 0.5),
  'all not a number': answer(Number.NaN, Number.NaN, Number.NaN),
  infinite: answer(Number.POSITIVE_INFINITY, 0, 0),
  negative: answer(1.2, -0.1, -0.1),
  'a sum below one': answer(0.5, 0.1, 0.1),
  'a sum above one': answer(0.9, 0.9, 0.9),
  'too few classes': answer(0.5, 0.5),
  'too many classes': answer(0.25, 0.25, 0.25, 0.25),
  nothing: answer(),
}

const validAnswer = fc
  .array(fc.integer({ min: 0, max: 1_000 }), { minLength: 3, maxLength: 3 })
  .filter(weights => weights.some(weight => weight > 0))
  .map(weights => {
    const sum = weights.reduce((total, weight) => total + weight, 0)
    return answer(...weights.map(weight => weight / sum))
  })

for (const [name, makeOne] of makers) {
  describe(name, () => {
    for (const [what, local] of Object.entries(invalid)) {
      test(`escalates model output that is invalid: ${what}`, () => {
        const decision = makeOne().decide(local, context)
        assert.equal(decision.action, 'escalate')
        assert.equal(decision.reason, 'invalid-output')
        for (const value of Object.values(decision.numbers)) assert.ok(Number.isFinite(value))
      })
    }

    test('remembers nothing of invalid output, nor of a verdict on it', () => {
      const policy = makeOne()
      const before = policy.snapshot()
      for (const local of Object.values(invalid)) {
        const { token } = policy.decide(local, context)
        policy.learn({ local, remote: answer(1, 0, 0), price: 0.2, token })
      }
      assert.deepEqual(policy.snapshot(), before)
    })

    test('decides on every valid answer, with a reason in kebab case and finite numbers', () => {
      const policy = makeOne()
      fc.assert(
        fc.property(validAnswer, local => {
          const { action, reason, numbers } = policy.decide(local, context)
          assert.ok(action === 'accept' || action === 'escalate')
          assert.match(reason, /^[a-z0-9]+(-[a-z0-9]+)*$/)
          assert.notEqual(reason, 'invalid-output')
          assert.equal(numbers.score, local.confidence)
          assert.equal(numbers.price, context.price)
          for (const value of Object.values(numbers)) assert.ok(Number.isFinite(value))
        }),
        { numRuns: 200 },
      )
    })

    test('stays finite at probabilities of 0 and 1 and prices of 0 and 1', () => {
      for (const price of [0, 1]) {
        const policy = makeOne()
        for (let i = 0; i < 300; i++) {
          const local = answer(...[0, 1, 2].map(index => Number(index === i % 3)))
          const { numbers, token } = policy.decide(local, { price })
          for (const value of Object.values(numbers)) assert.ok(Number.isFinite(value), JSON.stringify(numbers))
          policy.learn({ local, remote: answer(0, 1, 0), price, token })
        }
        assert.deepEqual(throughJson(policy.snapshot()), policy.snapshot())
      }
    })

    // Before and after the 200 windows that quantiles are learned from.
    for (const at of [150, 300]) {
      test(`goes on from a snapshot at window ${at} as if it had never stopped, with verdicts under way`, () => {
        const stream = samples(600)
        const replay = new Replay(makeOne(), { delay: 9 }).run(stream.slice(0, at))
        const revived = makeOne()
        revived.restore(throughJson(replay.policy.snapshot()))
        assert.deepEqual(revived.snapshot(), replay.policy.snapshot())
        const other = replay.handOver(revived)
        const rest = stream.slice(at)
        assert.deepEqual(other.run(rest).decisions, replay.run(rest).decisions)
        assert.deepEqual(revived.snapshot(), replay.policy.snapshot())
      })
    }

    test('decides the same again with the same seed', () => {
      const run = () => new Replay(makeOne(), { delay: 3 }).run(samples(400)).decisions
      assert.deepEqual(run(), run())
    })

    test('learns the same from a verdict that comes twice, or late and twice, as from one', () => {
      const policy = makeOne()
      const stream = samples(20)
      const told = stream.map(({ local, truth }) => {
        const { token } = policy.decide(local, context)
        return { local, remote: truth, price: context.price, token: token && { ...token } }
      })
      const once = makeOne()
      once.restore(throughJson(policy.snapshot()))
      for (const feedback of told) once.learn(feedback)
      for (const feedback of [...told, ...told, ...told.toReversed()]) policy.learn(feedback)
      assert.deepEqual(policy.snapshot(), once.snapshot())
    })

    test('keeps its weights and counters as they were through an escalation that nobody answers', () => {
      const policy = makeOne()
      new Replay(policy).run(samples(100))
      for (const { local } of samples(90, 2)) {
        const before = learned(policy)
        const { action, reason } = policy.decide(local, context)
        // To the policy itself an audited window is an accepted one.
        if (action === 'escalate' && reason !== 'audit') assert.deepEqual(learned(policy), before)
      }
    })

    test('decides the same whatever the truth of the windows it accepts', () => {
      const stream = samples(600)
      const { decisions } = new Replay(makeOne()).run(stream)
      const others = stream.map((sample, i) =>
        decisions[i]!.action === 'accept' ? { ...sample, truth: answer(0, 0, 1) } : sample,
      )
      assert.deepEqual(new Replay(makeOne()).run(others).decisions, decisions)
    })

    test('has a state that stops growing', () => {
      const replay = new Replay(makeOne())
      const size = () => countNumbers(replay.policy.snapshot())
      let largest = 0
      for (const sample of samples(1_000)) {
        replay.next(sample)
        largest = Math.max(largest, size())
      }
      replay.run(samples(4_000, 2))
      assert.ok(size() <= largest, `${size()} > ${largest}`)
    })

    test('keeps the digest of its model in a snapshot', () => {
      assert.equal(makeOne().snapshot().model, model.digest)
    })

    test('refuses the state of another policy, another version or with damaged data', () => {
      const state = makeOne().snapshot()
      const wrong: PolicyState[] = [
        { ...state, policy: 'other' },
        { ...state, version: 99 },
        { ...state, data: { random: [1, 2, 3], inner: null } },
        { ...state, data: { rounds: 1, verdicts: [], memory: { logs: [0], asked: [1] } } },
        { ...state, data: 7 },
      ]
      const policy = makeOne()
      for (const damaged of wrong) assert.throws(() => policy.restore(damaged), withCode('POLICY_STATE_INVALID'))
      assert.deepEqual(policy.snapshot(), state)
    })
  })
}

for (const name of ['random', 'hil-f', 'hil-n', 'h2t2']) {
  test(`${name} draws other lots with another seed`, () => {
    const run = (seed: number) =>
      new Replay(make(name, {}, seed)).run(samples(200)).decisions.map(({ action }) => action)
    assert.notDeepEqual(run(1), run(2))
  })
}

test('an unknown policy or a wrong parameter is named', () => {
  for (const name of ['sometimes', 'constructor', ''])
    assert.throws(() => createPolicy({ name }, model), withCode('POLICY_UNKNOWN', /threshold/))
  const wrong: [string, Record<string, unknown>, RegExp][] = [
    ['threshold', { threshold: 1.1 }, /threshold/],
    ['threshold', { threshold: '0.5' }, /threshold/],
    ['threshold', { theta: 0.5 }, /theta/],
    ['relevance', { confidence: Number.NaN }, /confidence/],
    ['never', { threshold: 0.5 }, /threshold/],
    ['random', { share: -0.1 }, /share/],
    ['margin', { margin: 2 }, /margin/],
    ['entropy', { entropy: -1 }, /entropy/],
    ['logistic-top2', { preset: 'resnet9' }, /preset/],
    ['logistic-top2', { coefficients: { intercept: 0, first: Number.NaN, second: 0 } }, /first/],
    ['logistic-top2', { preset: 'resnet8-cifar10', coefficients: { intercept: 0, first: 1, second: 0 } }, /not both/],
    ['calibrated', { missedFault: 0 }, /missedFault/],
    ['hil-f', { bits: 11 }, /bits/],
    ['hil-f', { thresholds: [0.5, 0.5] }, /thresholds/],
    ['hil-n', { explorationRate: 0 }, /explorationRate/],
    ['hil-n', { horizon: 0 }, /horizon/],
    ['hi-lcb', { alpha: 0 }, /alpha/],
    ['hi-lcb', { edges: [0.9, 0.8] }, /edges/],
    ['hi-lcb-lite', { edges: [0.9], binning: 'equal-width' }, /not both/],
    ['h2t2', { falseAlarm: 1.5 }, /falseAlarm/],
  ]
  for (const [name, parameters, words] of wrong)
    assert.throws(() => createPolicy({ name, parameters }, model), withCode('CONFIG_INVALID', words), name)
})

for (const name of ['threshold', 'margin', 'entropy', 'relevance', 'h2t2'])
  test(`${name} says what it misses where neither parameters nor bundle give it`, () => {
    assert.throws(() => createPolicy({ name }), withCode('CONFIG_INVALID', new RegExp(`policy ${name}: give`)))
  })
