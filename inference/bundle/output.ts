import type { BundleDescription } from './description.ts'

/**
 * One row of a network's output as class probabilities: softmax of logits over the calibration's temperature (Guo et
 * al. 2017). Probabilities are sharpened or flattened the same way, through their logarithms. An output that is not
 * finite comes back as it is: judging it is the policy's part.
 */
export function probabilitiesOf(
  row: ArrayLike<number>,
  { output, calibration }: Pick<BundleDescription, 'output' | 'calibration'>,
): number[] {
  const values = Array.from(row)
  const { temperature } = calibration
  if (!values.every(Number.isFinite)) return values
  if (output === 'logits') return softmax(values.map(value => value / temperature))
  if (temperature === 1 || values.some(value => value < -1e-3)) return values
  return softmax(values.map(value => Math.log(Math.max(0, value)) / temperature))
}

function softmax(logits: number[]): number[] {
  const largest = Math.max(...logits)
  const exponentials = logits.map(logit => Math.exp(logit - largest))
  const sum = exponentials.reduce((total, value) => total + value, 0)
  return exponentials.map(value => value / sum)
}
