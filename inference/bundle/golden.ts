import { FaultlineError } from '@faultline/protocol'
import type { Network } from '../engines/engine.ts'
import type { Bundle } from './bundle.ts'

/**
 * Runs the bundle's golden inputs, as one batch and one alone, and compares every value with what it should be.
 * Throws `BUNDLE_GOLDEN_MISMATCH` naming the first row that differs.
 */
export async function verifyGolden(network: Network, bundle: Bundle): Promise<void> {
  const { inputs, outputs, tolerance } = bundle.description.golden
  const batch = await network.run(Float32Array.from(inputs.flat()), inputs.length)
  compare(batch, outputs, tolerance, network)
  const alone = await network.run(Float32Array.from(inputs[0]!), 1)
  compare(alone, outputs.slice(0, 1), tolerance, network)
}

function compare(actual: Float32Array, expected: number[][], tolerance: number, network: Network): void {
  const width = expected[0]!.length
  if (actual.length !== expected.length * width)
    throw new FaultlineError(
      'BUNDLE_GOLDEN_MISMATCH',
      `${network.engine} gave ${actual.length} values for ${expected.length} golden inputs of ${width} classes`,
    )
  for (const [row, values] of expected.entries()) {
    for (const [column, value] of values.entries()) {
      const difference = Math.abs(actual[row * width + column]! - value)
      // Written so that NaN fails.
      if (!(difference <= tolerance))
        throw new FaultlineError(
          'BUNDLE_GOLDEN_MISMATCH',
          `${network.engine} is off by ${difference.toPrecision(3)} in golden row ${row}, class ${column}`,
        )
    }
  }
}
