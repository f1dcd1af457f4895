import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AuditLedger, auditRateFor, auditsFor, Random } from '@faultline/inference'
import { upperBound } from '@faultline/protocol'
import { withCode } from './bundles.ts'

test('what nobody audited may be missed always', () => {
  const nothing = { machine: 'press-1', audits: 0, silent: 0, missed: 0, wrong: 0, missedAtMost: 1 }
  assert.deepEqual(new AuditLedger().account('press-1', 'a'), nothing)
})

test('each machine has an account of its own, and each model that it had', () => {
  const ledger = new AuditLedger()
  for (let i = 0; i < 58; i++) ledger.add('press-1', 'old', 'normal-confirmed')
  ledger.add('press-1', 'old', 'missed-fault')
  ledger.add('press-1', 'old', 'misnamed')
  ledger.add('press-2', 'old', 'confirmed')
  ledger.add('press-1', 'new', 'normal-confirmed')
  const missedAtMost = upperBound(1, 59)
  const old = { machine: 'press-1', audits: 60, silent: 59, missed: 1, wrong: 2, missedAtMost }
  assert.deepEqual(ledger.account('press-1', 'old'), old)
  assert.equal(ledger.account('press-1', 'new').missedAtMost, upperBound(0, 1))
  assert.deepEqual([ledger.account('press-2', 'old').audits, ledger.account('press-2', 'old').silent], [1, 0])
})

test('a snapshot goes through JSON and comes back', () => {
  const ledger = new AuditLedger()
  ledger.add('press-1', 'a', 'missed-fault')
  ledger.add('press-1', 'b', 'confirmed')
  const restored = new AuditLedger()
  restored.add('press-9', 'a', 'confirmed')
  restored.restore(JSON.parse(JSON.stringify(ledger.snapshot())))
  assert.deepEqual(restored.snapshot(), ledger.snapshot())
  assert.deepEqual(restored.account('press-1', 'a'), ledger.account('press-1', 'a'))
})

test('a damaged snapshot is refused and changes nothing', () => {
  const ledger = new AuditLedger()
  ledger.add('press-1', 'a', 'confirmed')
  const kept = ledger.snapshot()
  const with_ = (counts: object) => ({ version: 1, machines: [{ machine: 'm', models: [{ digest: 'a', counts }] }] })
  const impossible = with_({ audits: 1, silent: 1, missed: 2, wrong: 2 })
  for (const state of [undefined, 7, {}, { ...kept, version: 2 }, impossible, with_({ audits: -1 })])
    assert.throws(() => ledger.restore(state), withCode('AUDIT_STATE_INVALID'))
  assert.deepEqual(ledger.snapshot(), kept)
})

test('what was written to longest ago is forgotten first', () => {
  const ledger = new AuditLedger()
  for (let i = 0; i < 1_024; i++) ledger.add(`press-${i}`, 'a', 'confirmed')
  ledger.add('press-0', 'a', 'confirmed')
  ledger.add('another', 'a', 'confirmed')
  assert.equal(ledger.account('press-0', 'a').audits, 2)
  assert.equal(ledger.account('press-1', 'a').audits, 0)
  for (let i = 0; i < 9; i++) ledger.add('another', `model-${i}`, 'confirmed')
  assert.deepEqual([ledger.account('another', 'a').audits, ledger.account('another', 'model-8').audits], [0, 1])
})

test('a share is ruled out by as many audits as the tables say', () => {
  // ln 0.05 / ln(1 - share); the rule of three would say 30, 60, 300, 3,000.
  assert.deepEqual([0.1, 0.05, 0.01, 0.001].map(auditsFor), [29, 59, 299, 2_995])
  for (const share of [0.5, 0.1, 0.037, 0.01, 0.0004]) {
    assert.ok(upperBound(0, auditsFor(share)) <= share + 1e-9)
    assert.ok(upperBound(0, auditsFor(share) - 1) > share)
  }
  for (const share of [0, 1, -0.1, Number.NaN]) assert.throws(() => auditsFor(share), withCode('CONFIG_INVALID'))
})

test('the rate is what so many audits take, all windows where there are too few', () => {
  const target = { missedFaultsAtMost: 0.01, withinDays: 10 }
  assert.equal(auditRateFor(target, 29_900), 299 / 299_000)
  assert.equal(auditRateFor(target, 1), 1)
  assert.equal(auditRateFor(target, 0), 1)
})

test('the bound holds for the windows that were accepted, also where they come in runs', () => {
  // One stretch of 40 faulty windows in 2,000: not independent, but drawn by lot.
  const faulty = (window: number) => window >= 700 && window < 740
  const random = new Random(3)
  let broken = 0
  const repetitions = 1_000
  for (let repetition = 0; repetition < repetitions; repetition++) {
    const ledger = new AuditLedger()
    for (let window = 0; window < 2_000; window++)
      if (random.uniform() < 0.05) ledger.add('m', 'a', faulty(window) ? 'missed-fault' : 'normal-confirmed')
    if (ledger.account('m', 'a').missedAtMost < 0.02) broken++
  }
  // At most 5 % of the time, give or take what a thousand repetitions scatter by.
  assert.ok(broken / repetitions < 0.05 + 3 * Math.sqrt((0.05 * 0.95) / repetitions), String(broken))
})
