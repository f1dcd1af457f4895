import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  AuditedPolicy,
  Calibration,
  capped,
  checkEvidence,
  classificationOf,
  createPolicy,
  EpisodicPolicy,
  type Evidence,
  type LocalResult,
  MOST_VERDICTS,
  type Policy,
  type PolicySettings,
  pooled,
  Random,
} from '@faultline/inference'
import fc from 'fast-check'

const classes = ['normal', 'ball', 'inner-race']
const price = 0.2
const poolable: PolicySettings[] = [{ name: 'default' }, { name: 'hi-lcb' }, { name: 'hi-lcb-lite' }]
const calibration = Calibration.fit([], { classes: 3 }).model

function answerOf(random: Random): LocalResult {
  const confidence = 1 - 0.6 * random.uniform() ** 3
  const rest = (1 - confidence) * random.uniform()
  return { ...classificationOf(classes, [confidence, rest, 1 - confidence - rest]), classes }
}

/** Answers that are right as often as they are confident; all windows escalated or not, verdicts come for `share` of them. */
function live(policy: Policy, windows: number, seed: number): { escalated: number } {
  const random = new Random(seed)
  let escalated = 0
  for (let i = 0; i < windows; i++) {
    const local = answerOf(random)
    const right = random.uniform() < local.confidence
    const { action, token } = policy.decide(local, { price })
    if (action === 'accept') continue
    escalated++
    const label = right ? local.label : 'inner-race'
    const remote = { ...classificationOf(classes, [0, 0, 1]), label: right ? label : `not-${local.label}` }
    policy.learn({ local, remote, price, token })
  }
  return { escalated }
}

const make = (settings: PolicySettings, seed = 1) => createPolicy(settings, { digest: 'sha256:1', calibration }, seed)

for (const settings of poolable) {
  const { name } = settings

  test(`${name} says nothing before its first verdict, and then what a device can have learned`, () => {
    const policy = make(settings)
    assert.equal(policy.evidence!(), undefined)
    live(policy, 400, 3)
    const evidence = policy.evidence!()!
    assert.ok(evidence.verdicts > 0)
    assert.equal(evidence.kind, policy.evidenceKind)
    checkEvidence(evidence)
  })

  test(`${name} that begins with what others learned asks less than one that begins with nothing`, () => {
    const others = [11, 12, 13].map(seed => {
      const policy = make(settings, seed)
      live(policy, 3_000, seed)
      return policy.evidence!()!
    })
    const cold = make(settings)
    const warm = make(settings)
    warm.adopt!(pooled(others)!)
    const [asked, askedWarm] = [live(cold, 500, 99).escalated, live(warm, 500, 99).escalated]
    assert.ok(askedWarm < 0.9 * asked, `${askedWarm} of ${asked}`)
  })

  test(`${name} passes on what it learned itself, never what it began with`, () => {
    const other = make(settings, 5)
    live(other, 2_000, 5)
    const warm = make(settings)
    warm.adopt!(other.evidence!()!)
    assert.equal(warm.evidence!(), undefined)
    const restored = make(settings)
    restored.restore(JSON.parse(JSON.stringify(warm.snapshot())))
    live(restored, 300, 6)
    live(warm, 300, 6)
    assert.deepEqual(restored.evidence!(), warm.evidence!())
    assert.ok(warm.evidence!()!.verdicts <= 300)
  })

  test(`${name} refuses evidence that is none, and is unchanged`, () => {
    const policy = make(settings)
    live(policy, 200, 7)
    const good = policy.evidence!()!
    const before = policy.snapshot()
    const spoilt: Evidence[] = [
      { ...good, kind: 'horoscope' },
      { ...good, sums: good.sums.slice(1) },
      { ...good, sums: good.sums.map(() => -1_000) },
      { ...good, sums: good.sums.map(() => Number.NaN) },
    ]
    for (const evidence of spoilt) assert.throws(() => policy.adopt!(evidence), { code: 'POLICY_STATE_INVALID' })
    assert.deepEqual(policy.snapshot(), before)
  })

  test(`${name} learns the same from one pool, whatever the order of the devices in it`, () => {
    const parts = [21, 22, 23].map(seed => {
      const policy = make(settings, seed)
      live(policy, 500, seed)
      return policy.evidence!()!
    })
    const one = pooled(parts)!
    const other = pooled([...parts].reverse())!
    assert.equal(one.verdicts, other.verdicts)
    for (const [i, sum] of one.sums.entries())
      assert.ok(Math.abs(sum - other.sums[i]!) <= 1e-9 * Math.max(1, Math.abs(sum)))
  })
}

test('the evidence of a regression is what it learned: on the same prior it gives the same weights', () => {
  const teacher = make({ name: 'default' })
  live(teacher, 600, 31)
  const pupil = make({ name: 'default' })
  pupil.adopt!(teacher.evidence!()!)
  const random = new Random(32)
  for (let i = 0; i < 50; i++) {
    const local = answerOf(random)
    const rightOf = (policy: Policy) => policy.decide(local, { price: 0 }).numbers.right!
    // Not the counters: they stay with whoever counted, and they rarely object to what is true.
    assert.ok(Math.abs(rightOf(pupil) - rightOf(teacher)) < 1e-6)
  }
})

test('no device counts for more than so many verdicts, nor does a pool', () => {
  const evidence = { kind: 'logistic', verdicts: 50_000, sums: [50, 100] }
  assert.deepEqual(capped(evidence), { kind: 'logistic', verdicts: MOST_VERDICTS, sums: [1, 2] })
  assert.deepEqual(pooled([evidence, { kind: 'logistic', verdicts: 10, sums: [3, 4] }]), {
    kind: 'logistic',
    verdicts: MOST_VERDICTS + 10,
    sums: [4, 6],
  })
  assert.equal(pooled([]), undefined)
})

test('audits and episodes pass evidence on, and do not add to it', () => {
  const wrap = (policy: Policy) =>
    new AuditedPolicy(new EpisodicPolicy(policy, { agreeing: 5, holdS: 60 }), { rate: 0, seed: 1 })
  const inner = make({ name: 'hi-lcb' })
  const outer = wrap(inner)
  live(outer, 200, 41)
  assert.equal(outer.evidenceKind, inner.evidenceKind)
  assert.deepEqual(outer.evidence(), inner.evidence!())
  const warm = make({ name: 'hi-lcb' })
  wrap(warm).adopt(outer.evidence()!)
  const cold = make({ name: 'hi-lcb' })
  assert.notDeepEqual(warm.snapshot(), cold.snapshot())
})

test('a policy that learns nothing shares nothing, also under audits', () => {
  const audited = new AuditedPolicy(make({ name: 'threshold', parameters: { threshold: 0.5 } }), { rate: 0, seed: 1 })
  assert.equal(audited.evidence(), undefined)
  assert.throws(() => audited.adopt({ kind: 'logistic', verdicts: 1, sums: [1, 1] }), { code: 'POLICY_STATE_INVALID' })
})

test('any numbers at all are evidence or refused with a code', () => {
  const evidence = fc.record({
    kind: fc.constantFrom('logistic', 'confidence-cells', 'constructor'),
    verdicts: fc.integer({ min: 1, max: 1_000_000 }),
    sums: fc.oneof(
      fc.array(fc.double(), { maxLength: 60 }),
      fc.array(fc.double({ min: 0, noNaN: true }), { minLength: 192, maxLength: 192 }),
    ),
  })
  fc.assert(
    fc.property(evidence, given => {
      for (const settings of poolable)
        for (const work of [() => checkEvidence(given), () => make(settings).adopt!(given)])
          try {
            work()
          } catch (error) {
            assert.equal((error as { code?: string }).code, 'POLICY_STATE_INVALID', String(error))
          }
    }),
    { numRuns: 200 },
  )
})
