import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  AuditedPolicy,
  classificationOf,
  createPolicy,
  type LocalResult,
  type Policy,
  policyNames,
} from '@faultline/inference'
import fc from 'fast-check'
import { withCode } from './bundles.ts'

const classes = ['normal', 'ball', 'inner-race']
const context = { price: 0.2 }
const answer = (...probabilities: number[]): LocalResult => ({ ...classificationOf(classes, probabilities), classes })
const model = { digest: `sha256:${'a'.repeat(64)}`, normal: 'normal', threshold: 0.8 }

/** Every policy there is, alone and with audits. */
const makers: [string, () => Policy][] = policyNames.flatMap(name => [
  [name, () => createPolicy({ name }, model)] as [string, () => Policy],
  [`${name} with audits`, () => new AuditedPolicy(createPolicy({ name }, model), { rate: 0.3, seed: 5 })],
])

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

for (const [name, make] of makers) {
  describe(name, () => {
    for (const [what, local] of Object.entries(invalid)) {
      test(`escalates model output that is invalid: ${what}`, () => {
        const decision = make().decide(local, context)
        assert.equal(decision.action, 'escalate')
        assert.equal(decision.reason, 'invalid-output')
        for (const value of Object.values(decision.numbers)) assert.ok(Number.isFinite(value))
      })
    }

    test('decides on every valid answer, with a reason in kebab case and finite numbers', () => {
      const policy = make()
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

    test('goes on from a snapshot that went through JSON as if it had never stopped', () => {
      const policy = make()
      const stream = Array.from({ length: 60 }, (_, i) => answer(0.4 + i / 100, 0.6 - i / 100, 0))
      for (const local of stream.slice(0, 30)) {
        const { action } = policy.decide(local, context)
        if (action === 'escalate') policy.learn({ local, remote: answer(1, 0, 0), price: context.price })
      }
      const revived = make()
      revived.restore(JSON.parse(JSON.stringify(policy.snapshot())))
      assert.deepEqual(revived.snapshot(), policy.snapshot())
      for (const local of stream.slice(30))
        assert.deepEqual(revived.decide(local, context), policy.decide(local, context))
    })

    test('keeps the digest of its model in a snapshot', () => {
      assert.equal(make().snapshot().model, model.digest)
    })

    test('refuses the state of another policy, another version or with damaged data', () => {
      const state = make().snapshot()
      const wrong = [
        { ...state, policy: 'other' },
        { ...state, version: 99 },
        { ...state, data: { random: [1, 2, 3], inner: null } },
        { ...state, data: 7 },
      ]
      for (const damaged of wrong) assert.throws(() => make().restore(damaged), withCode('POLICY_STATE_INVALID'))
    })
  })
}

const decide = (name: string, parameters: Record<string, unknown>, local: LocalResult) => {
  const { action, reason } = createPolicy({ name, parameters }, model).decide(local, context)
  return [action, reason]
}

test('never accepts whatever is valid, always escalates it', () => {
  for (const local of [answer(1, 0, 0), answer(0.34, 0.33, 0.33)]) {
    assert.deepEqual(decide('never', {}, local), ['accept', 'always-accepts'])
    assert.deepEqual(decide('always', {}, local), ['escalate', 'always-escalates'])
  }
})

test('threshold accepts at the threshold and escalates below it', () => {
  assert.deepEqual(decide('threshold', { threshold: 0.75 }, answer(0.25, 0.75, 0)), ['accept', 'confident'])
  assert.deepEqual(decide('threshold', { threshold: 0.75 }, answer(0.2501, 0.7499, 0)), ['escalate', 'below-threshold'])
})

test('threshold is calibrated by the bundle where nobody sets it', () => {
  assert.deepEqual(decide('threshold', {}, answer(0.8, 0.2, 0)), ['accept', 'confident'])
  assert.deepEqual(decide('threshold', {}, answer(0.79, 0.21, 0)), ['escalate', 'below-threshold'])
  assert.throws(() => createPolicy({ name: 'threshold' }), withCode('CONFIG_INVALID', /threshold/))
})

test('relevance accepts only what is confidently normal', () => {
  assert.deepEqual(decide('relevance', { confidence: 0.6 }, answer(0.6, 0.4, 0)), ['accept', 'normal'])
  assert.deepEqual(decide('relevance', { confidence: 0.6 }, answer(0.59, 0.41, 0)), ['escalate', 'below-threshold'])
  assert.deepEqual(decide('relevance', { confidence: 0.6 }, answer(0, 1, 0)), ['escalate', 'not-normal'])
  assert.deepEqual(decide('relevance', { normal: 'ball' }, answer(0, 1, 0)), ['accept', 'normal'])
  assert.throws(() => createPolicy({ name: 'relevance' }), withCode('CONFIG_INVALID', /normal/))
})

test('an unknown policy or a wrong parameter is named', () => {
  for (const name of ['sometimes', 'constructor', ''])
    assert.throws(() => createPolicy({ name }, model), withCode('POLICY_UNKNOWN', /threshold/))
  const wrong: [string, Record<string, unknown>, RegExp][] = [
    ['threshold', { threshold: 1.1 }, /threshold/],
    ['threshold', { threshold: '0.5' }, /threshold/],
    ['threshold', { theta: 0.5 }, /theta/],
    ['relevance', { confidence: Number.NaN }, /confidence/],
    ['never', { threshold: 0.5 }, /threshold/],
  ]
  for (const [name, parameters, words] of wrong)
    assert.throws(() => createPolicy({ name, parameters }, model), withCode('CONFIG_INVALID', words))
})

const audited = (rate: number, seed: number, name = 'never') =>
  new AuditedPolicy(createPolicy({ name }, model), { rate, seed })
const audits = (policy: Policy, count: number) =>
  Array.from({ length: count }, () => policy.decide(answer(0.9, 0.1, 0), context).reason === 'audit')

test('audits take their share of what is accepted and keep the name and the numbers', () => {
  const policy = audited(0.1, 1)
  assert.equal(policy.name, 'never')
  const share = audits(policy, 20_000).filter(Boolean).length / 20_000
  assert.ok(Math.abs(share - 0.1) < 0.01, String(share))
  const { numbers } = audited(1, 1, 'threshold').decide(answer(0.9, 0.1, 0), context)
  assert.deepEqual(numbers, { score: 0.9, threshold: 0.8, price: 0.2, auditRate: 1 })
})

test('a rate of 0 audits nothing, a rate of 1 everything', () => {
  assert.ok(audits(audited(0, 1), 1_000).every(audit => !audit))
  assert.ok(audits(audited(1, 1), 1_000).every(audit => audit))
})

test('the same seed audits the same windows', () => {
  assert.deepEqual(audits(audited(0.2, 9), 500), audits(audited(0.2, 9), 500))
  assert.notDeepEqual(audits(audited(0.2, 9), 500), audits(audited(0.2, 10), 500))
})

test('what is escalated anyway is no audit and does not move the sample', () => {
  const plain = audited(0.2, 3, 'threshold')
  const mixed = audited(0.2, 3, 'threshold')
  const expected = audits(plain, 200)
  const actual = expected.map(() => {
    assert.equal(mixed.decide(answer(0.5, 0.5, 0), context).reason, 'below-threshold')
    return mixed.decide(answer(0.9, 0.1, 0), context).reason === 'audit'
  })
  assert.deepEqual(actual, expected)
})

test('an audit rate outside 0..1 is refused', () => {
  for (const rate of [-0.1, 1.1, Number.NaN]) assert.throws(() => audited(rate, 1), withCode('CONFIG_INVALID'))
})
