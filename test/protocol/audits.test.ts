import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  auditFinding,
  auditFindings,
  examples,
  findingOf,
  missedAtMost,
  noAudits,
  upperBound,
  withFinding,
} from '@faultline/protocol'
import fc from 'fast-check'

test('the bound is that of Clopper and Pearson', () => {
  // The 0.95 quantiles of Beta(hits + 1, draws - hits).
  for (const [draws, hits, bound] of [
    [10, 0, 0.2588655509],
    [10, 1, 0.394163302],
    [10, 2, 0.506901301],
    [10, 9, 0.9948838031],
    [20, 1, 0.2161061642],
    [20, 10, 0.6980460887],
    [100, 1, 0.0465598115],
    [100, 5, 0.1022533776],
    [1_000, 10, 0.0169031751],
  ] as const)
    assert.ok(Math.abs(upperBound(hits, draws) - bound) < 1e-9, `${hits} of ${draws}: ${upperBound(hits, draws)}`)
})

test('nothing found in N draws rules out more than 1 - 0.05^(1/N); nothing drawn rules out nothing', () => {
  for (const draws of [1, 2, 59, 299, 100_000])
    assert.ok(Math.abs(upperBound(0, draws) / (1 - 0.05 ** (1 / draws)) - 1) < 1e-9, String(draws))
  assert.equal(upperBound(0, 0), 1)
  assert.equal(upperBound(7, 7), 1)
})

test('the bound lies above the share seen, rises with what is found and falls with what is not', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 20_000 }), fc.nat(), (draws, number) => {
      const hits = number % (draws - 1)
      const bound = upperBound(hits, draws)
      assert.ok(bound > hits / draws && bound < 1)
      assert.ok(upperBound(hits + 1, draws) > bound)
      assert.ok(upperBound(hits, draws + 1) < bound)
    }),
    { numRuns: 200 },
  )
})

test('a fault is missed where "normal" was accepted, and an answer wrong wherever the labels differ', () => {
  const counts = (accepted: string, verdict: string, normal?: string) =>
    withFinding(noAudits, auditFinding(accepted, verdict, normal))
  assert.deepEqual(counts('normal', 'normal', 'normal'), { audits: 1, silent: 1, missed: 0, wrong: 0 })
  assert.deepEqual(counts('normal', 'ball', 'normal'), { audits: 1, silent: 1, missed: 1, wrong: 1 })
  assert.deepEqual(counts('ball', 'ball', 'normal'), { audits: 1, silent: 0, missed: 0, wrong: 0 })
  assert.deepEqual(counts('ball', 'normal', 'normal'), { audits: 1, silent: 0, missed: 0, wrong: 1 })
  assert.deepEqual(counts('cat', 'dog'), { audits: 1, silent: 0, missed: 0, wrong: 1 })
  const all = auditFindings.reduce((sum, finding) => withFinding(sum, finding, 2), noAudits)
  assert.deepEqual(all, { audits: 8, silent: 4, missed: 2, wrong: 4 })
  assert.equal(missedAtMost(all), upperBound(2, 4))
})

test('an inference tells of its audit, a revision of that of the window it revises', () => {
  const { payload } = examples.inference
  const audit = { ...payload, reason: 'audit' }
  assert.deepEqual(findingOf(audit, 'normal'), { window: payload.id, finding: 'misnamed' })
  assert.deepEqual(findingOf({ ...audit, id: 'later', revises: 'w' }, 'ball'), { window: 'w', finding: 'missed-fault' })
  assert.equal(findingOf(payload, 'normal'), undefined)
  assert.equal(findingOf({ ...audit, outcome: 'late', server: undefined }, 'normal'), undefined)
})
