import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AuditedPolicy, type Policy } from '@faultline/inference'
import { withCode } from './bundles.ts'
import { answer, make } from './policy-support.ts'

const context = { price: 0.2 }
const audited = (rate: number, seed: number, name = 'never') => new AuditedPolicy(make(name, {}, seed), { rate, seed })
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

test('an accepted window says how likely it was to be audited, one that is escalated anyway does not', () => {
  const policy = audited(0.25, 1, 'threshold')
  const accepted = Array.from({ length: 50 }, () => policy.decide(answer(0.9, 0.1, 0), context))
  assert.ok(accepted.some(({ action }) => action === 'accept'))
  for (const { numbers } of accepted) assert.equal(numbers.auditRate, 0.25)
  assert.equal(policy.decide(answer(0.5, 0.5, 0), context).numbers.auditRate, undefined)
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

test('audits do not follow the lots of a policy with the same seed', () => {
  const first = Array.from({ length: 5_000 }, (_, seed) =>
    audited(0.1, seed, 'random').decide(answer(0.9, 0.1, 0), context),
  )
  const accepted = first.filter(({ reason }) => reason !== 'drawn')
  const share = accepted.filter(({ reason }) => reason === 'audit').length / accepted.length
  assert.ok(Math.abs(share - 0.1) < 0.015, String(share))
})

test('an audit of HI-LCB teaches it, one of HIL-N does not', () => {
  const told = (name: string, parameters: Record<string, unknown>) => {
    const policy = new AuditedPolicy(make(name, parameters), { rate: 1, seed: 1 })
    const local = answer(1, 0, 0)
    for (let i = 0; i < 400; i++) {
      const { reason, token } = policy.decide(local, context)
      const before = JSON.stringify(policy.snapshot())
      policy.learn({ local, remote: local, price: 0.2, token })
      if (reason === 'audit') return JSON.stringify(policy.snapshot()) !== before
    }
    return undefined
  }
  assert.equal(told('hi-lcb', {}), true)
  assert.equal(told('hil-n', { explorationRate: 0.01 }), false)
})

test('an audit rate outside 0..1 is refused', () => {
  for (const rate of [-0.1, 1.1, Number.NaN]) assert.throws(() => audited(rate, 1), withCode('CONFIG_INVALID'))
})

test('a rate that changes is asked for at every accepted window, with its point', () => {
  const rate = ({ point }: { point?: string }) => (point === 'a' ? 1 : 0)
  const policy = new AuditedPolicy(make('never'), { rate, seed: 1 })
  const at = (point: string) => policy.decide(answer(0.9, 0.1, 0), { ...context, point })
  assert.deepEqual([at('a').reason, at('a').numbers.auditRate, at('b').action], ['audit', 1, 'accept'])
})
