import { classificationOf } from '@faultline/inference'
import type { Trace } from '../../trace/trace.ts'
import { argmaxRows } from '../../training/metrics.ts'
import type { PairAnswers } from '../pair.ts'

/** What a pair said, as policies are replayed over it: classes by their numbers, the server saying what it said. */
export function traceOf({ labels, local, server }: PairAnswers, classes: number): Trace {
  const names = Array.from({ length: classes }, (_, i) => String(i))
  const remote = argmaxRows(server, classes)
  return {
    name: 'pair',
    classes: names,
    hasRemote: true,
    rows: Array.from(labels, (truth, i) => ({
      local: {
        ...classificationOf(names, Array.from(local.subarray(i * classes, (i + 1) * classes))),
        classes: names,
      },
      truth,
      remote: remote[i]!,
    })),
  }
}
