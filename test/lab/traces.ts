import { classificationOf, Random } from '@faultline/inference'
import type { Trace, TraceRow } from '../../lab/trace/trace.ts'

export interface SyntheticOptions {
  classes?: number
  windows?: number
  /** Above 1: the model is surer than it may be. */
  overconfidence?: number
  seed?: number
}

/** A trace of a model whose largest probability, its logit divided by `overconfidence`, is how often it is right. */
export function syntheticTrace({
  classes = 3,
  windows = 4_000,
  overconfidence = 1.6,
  seed = 1,
}: SyntheticOptions = {}): Trace {
  const random = new Random(seed)
  const names = Array.from({ length: classes }, (_, i) => String(i))
  const rows = Array.from({ length: windows }, (): TraceRow => {
    const winner = Math.floor(random.uniform() * classes)
    const logit = 9 * random.uniform() ** 0.7
    const top = 1 / (1 + Math.exp(-logit))
    const parts = names.map(() => 0.05 + random.uniform())
    const rest = parts.reduce((sum, part, i) => (i === winner ? sum : sum + part), 0)
    const probabilities = parts.map((part, i) => (i === winner ? top : ((1 - top) * part) / rest))
    const isRight = random.uniform() < 1 / (1 + Math.exp(-logit / overconfidence))
    const truth = isRight ? winner : (winner + 1) % classes
    return { local: { ...classificationOf(names, probabilities), classes: names }, truth, remote: truth }
  })
  return { name: 'synthetic', classes: names, hasRemote: false, rows }
}

/** The trace as a file would hold it. */
export function csvOf({ classes, rows }: Trace): string {
  const header = ['truth', ...classes.map((_, i) => `p${i}`)].join(',')
  const lines = rows.map(({ truth, local }) => [truth, ...local.probabilities.map(p => p.toFixed(6))].join(','))
  return `${[header, ...lines].join('\n')}\n`
}
