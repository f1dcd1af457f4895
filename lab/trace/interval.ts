/** A mean with its 95 % interval; none from a single value. */
export interface Mean {
  value: number
  low: number | null
  high: number | null
}

/** Mean of independent repetitions, with Student's t. */
export function meanOf(values: readonly number[]): Mean {
  const count = values.length
  const value = values.reduce((sum, x) => sum + x, 0) / count
  if (count < 2) return { value, low: null, high: null }
  const variance = values.reduce((sum, x) => sum + (x - value) ** 2, 0) / (count - 1)
  const reach = studentT(count - 1) * Math.sqrt(variance / count)
  return { value, low: value - reach, high: value + reach }
}

const Z = 1.959964
const SMALL = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306]

/** The 97.5 % quantile of Student's t: a table for few degrees of freedom, then Cornish and Fisher's expansion. */
export function studentT(freedom: number): number {
  const listed = SMALL[freedom - 1]
  if (listed !== undefined) return listed
  const [z3, z5] = [Z ** 3, Z ** 5]
  const third = (3 * Z ** 7 + 19 * z5 + 17 * z3 - 15 * Z) / 384
  return Z + (z3 + Z) / 4 / freedom + (5 * z5 + 16 * z3 + 3 * Z) / 96 / freedom ** 2 + third / freedom ** 3
}
