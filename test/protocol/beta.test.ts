import assert from 'node:assert/strict'
import { test } from 'node:test'
import { betaQuantile, incompleteBeta } from '@faultline/protocol'

const near = (value: number, wanted: number, tolerance = 1e-12) =>
  assert.ok(Math.abs(value - wanted) < tolerance, `${value}, not ${wanted}`)

test('the incomplete beta function has its closed forms', () => {
  near(incompleteBeta(0.3, 2, 3), 6 * 0.3 ** 2 - 8 * 0.3 ** 3 + 3 * 0.3 ** 4)
  near(incompleteBeta(0.9, 0.5, 0.5), (2 / Math.PI) * Math.asin(Math.sqrt(0.9)))
})

// With counts of a hundred thousand, differences of ln Gamma leave ten digits.
test('a quantile has its probability below it', () => {
  for (const [a, b] of [
    [1, 1],
    [3, 8],
    [2.5, 40],
    [1, 1e5],
  ] as const)
    for (const probability of [0.025, 0.5, 0.95])
      near(incompleteBeta(betaQuantile(probability, a, b), a, b), probability, 1e-9)
})
