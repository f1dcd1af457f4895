/** One measured figure beside what it is compared with. */
export interface Row {
  case: string
  /** What is measured, with its unit. */
  metric: string
  ours: number
  /** The same figure of the reference in the same run; null where there is none. */
  reference: number | null
  /** `ours / reference`. */
  ratio: number | null
  /** The ratio aimed at, for example `>= 0.9`, or with a unit the figure itself, `<= 1000 ns`; null where none is. */
  aim: string | null
}

export interface BenchmarkResult {
  rows: Row[]
  /** Printed below the table: what was left out and why. */
  notes: string[]
}

export interface Benchmark {
  /** One line for `--help`. */
  description: string
  /** `quick`: as little as shows that it works; its figures say nothing. */
  run(options: { quick: boolean }): Promise<BenchmarkResult>
}

/** Makes a row, the ratio included. */
export function rowOf(name: string, metric: string, ours: number, reference?: number, aim?: string): Row {
  const compared = reference !== undefined && reference !== 0
  return {
    case: name,
    metric,
    ours,
    reference: reference ?? null,
    ratio: compared ? ours / reference : null,
    aim: aim ?? null,
  }
}
