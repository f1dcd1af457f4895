import assert from 'node:assert/strict'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import { evaluateTrace } from '../../lab/trace/evaluation.ts'
import { below, bestFixedThreshold, tally } from '../../lab/trace/replay.ts'
import { readTrace, type Trace } from '../../lab/trace/trace.ts'
import { dataDirectory, missingTraces } from '../support/data.ts'
import { rounds, thorough } from '../support/thorough.ts'
import { recovery, shiftsOf } from './shifts.ts'

const prices = [0.05, 0.1, 0.2, 0.3]

/**
 * What the default policy costs on real classifiers, over 20 shuffles (two outside CI), as a multiple of the best fixed threshold in
 * hindsight. Bounds are a little above what was measured (`docs/reference/what-if.md`), so that it cannot silently get worse.
 */
describe('the default policy on real traces', { skip: missingTraces() }, () => {
  let traces: Trace[]
  /** With a tenth of each labelled, in the same order. */
  let calibrated: Awaited<ReturnType<typeof costs>>[]
  before(async () => {
    traces = await Promise.all(['cifar10', 'imdb'].map(name => readTrace(join(dataDirectory, 'traces', `${name}.csv`))))
    calibrated = await Promise.all(traces.map(trace => costs(trace, 0.1)))
  })

  const costs = async (trace: Trace, calibrate: number) => {
    const options = { policies: ['default', 'never', 'always'], prices, seeds: rounds(20), calibrate, normal: '0' }
    const { figures } = await evaluateTrace(trace, options)
    return prices.map(price => (policy: string) => figures.find(row => row.policy === policy && row.price === price)!)
  }

  test('with a tenth labelled costs at most 1.03 times the best at every price', () => {
    for (const [i, trace] of traces.entries())
      for (const at of calibrated[i]!) {
        const { ratio, price } = at('default')
        assert.ok(ratio! <= 1.03, `${trace.name} at ${price}: ${ratio}`)
      }
  })

  test('with a tenth labelled costs no more than the best where there is more to look at than the top score', () => {
    const [, , ...dear] = calibrated[traces.findIndex(({ name }) => name === 'cifar10')]!
    for (const at of dear) assert.ok(at('default').ratio! < 1.002, `${at('default').price}: ${at('default').ratio}`)
  })

  test('of two classes even the best threshold for each, in hindsight, costs hardly less than one for both', () => {
    const { rows } = traces.find(({ name }) => name === 'imdb')!
    for (const [price, ceiling] of [
      [0.2, 0.9985],
      [0.3, 0.992],
    ] as const) {
      const thresholds = ['0', '1'].map(label =>
        bestFixedThreshold(
          rows.filter(({ local }) => local.label === label),
          price,
        ),
      )
      const pair = tally(rows, price, ({ local }) => local.confidence < thresholds[Number(local.label)]!).cost
      const one = tally(rows, price, below(bestFixedThreshold(rows, price))).cost
      assert.ok(pair / one > ceiling && pair / one <= 1, `${price}: ${pair / one}`)
    }
  })

  test('without a label costs little more, and never more than never or always asking', async () => {
    for (const trace of traces) {
      const all = await costs(trace, 0)
      const mean = all.reduce((sum, at) => sum + at('default').ratio!, 0) / all.length
      assert.ok(mean <= 1.03, `${trace.name}: ${mean}`)
      for (const at of all) {
        assert.ok(at('default').cost.value < at('never').cost.value)
        assert.ok(at('default').cost.value < at('always').cost.value)
      }
    }
  })

  // Over three shuffles chance adds a few hundredths.
  const within = thorough ? 1.1 : 1.15
  for (const warm of [true, false])
    test(`is near the new best 2,000 windows after a change, ${warm ? 'calibrated' : 'cold'}`, () => {
      for (const shift of shiftsOf(traces, prices)) {
        const { settled } = recovery(shift, rounds(12, 0.25), warm)
        assert.ok(settled <= within, `${shift.name}: ${settled}`)
      }
    })
})
