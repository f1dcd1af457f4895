import assert from 'node:assert/strict'
import { test } from 'node:test'
import { policyNames } from '@faultline/inference'
import { answer, make, samples, throughJson } from './policy-support.ts'

/** A round of these takes an exponential per threshold, or a matrix: ten million would take minutes. */
const fewer: Record<string, number> = { default: 200_000, 'hil-f': 1_000_000, 'hil-n': 1_000_000, h2t2: 1_000_000 }
/** Losses are charged at a rate that shrinks with the horizon: here a million rounds weigh as ten million do by default. */
const steep: Record<string, Record<string, unknown>> = {
  'hil-f': { horizon: 1_000 },
  'hil-n': { horizon: 1_000 },
  h2t2: { horizon: 1_000 },
}

for (const name of policyNames) {
  // Without a memory nothing can wear out.
  if (make(name).snapshot().data === null) continue
  const count = fewer[name] ?? 10_000_000
  test(`${name} comes through ${count.toLocaleString('en')} rounds without underflow`, () => {
    const policy = make(name, steep[name])
    const stream = samples(1_024)
    // The server contradicts every sure answer: the losses are as large as they get, and all on one side.
    const contradiction = answer(0, 0, 1)
    for (let i = 0; i < count; i++) {
      const { local, truth } = stream[i & 1_023]!
      const { token } = policy.decide(local, { price: 0.2 })
      policy.learn({ local, remote: local.confidence > 0.9 ? contradiction : truth, price: 0.2, token })
    }
    for (const { local } of stream) {
      const { numbers } = policy.decide(local, { price: 0.2 })
      for (const [key, value] of Object.entries(numbers)) assert.ok(Number.isFinite(value), `${key} ${value}`)
      for (const key of ['acceptShare', 'normalShare', 'faultShare', 'bound'])
        assert.ok(!(numbers[key]! < 0 || numbers[key]! > 1), `${key} ${numbers[key]}`)
    }
    assert.deepEqual(throughJson(policy.snapshot()), policy.snapshot())
  })
}
