import assert from 'node:assert/strict'
import { test } from 'node:test'
import { classificationOf, Random } from '@faultline/inference'
import { evaluatePool } from '../../lab/trace/pool.ts'
import type { Trace } from '../../lab/trace/trace.ts'

/** Answers of two classes that are right as often as they are confident. */
function truthful(windows: number): Trace {
  const random = new Random(8)
  const classes = ['0', '1']
  const rows = Array.from({ length: windows }, () => {
    const confidence = 1 - 0.5 * random.uniform() ** 3
    const local = { ...classificationOf(classes, [confidence, 1 - confidence]), classes }
    const truth = random.uniform() < confidence ? 0 : 1
    return { local, truth, remote: truth }
  })
  return { name: 'truthful', classes, hasRemote: false, rows }
}

const options = { prices: [0.3], seeds: 2, calibrate: 0 }

test('a device asks less in the beginning when others have learned', async () => {
  const trace = truthful(3_000)
  const figures = (await evaluatePool(trace, { ...options, devices: [0, 2] }))!
  const find = (policy: string, devices: number) =>
    figures.find(figure => figure.policy === policy && figure.devices === devices)!
  for (const policy of ['hi-lcb', 'hi-lcb-lite']) {
    const [cold, warm] = [find(policy, 0), find(policy, 2)]
    assert.ok(warm.escalatedOf500.value < 0.8 * cold.escalatedOf500.value, policy)
    assert.ok(warm.escalatedOf1000.value >= warm.escalatedOf500.value)
    assert.ok(warm.cost.value < cold.cost.value, policy)
  }
})

test('a trace with too few windows for so many devices gives no figures', async () => {
  assert.equal(await evaluatePool(truthful(2_999), { ...options, devices: [2] }), undefined)
})
