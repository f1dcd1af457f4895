import { argmaxRows } from '../training/metrics.ts'
import { classes, type FoldAnswers } from './answers.ts'

export const methods = ['local', 'server', 'hierarchical', 'rms'] as const
export type Method = (typeof methods)[number]

/** What one method ends up saying about one window. */
export interface Decision {
  run: string
  label: number
  /** The class number it names; undefined where it says "faulty" and can name nothing. */
  named: number | undefined
  faulty: boolean
  escalated: boolean
}

/** The class number of a sound bearing. */
export const NORMAL = classes.indexOf('normal')

/** Final answers of one method to every test window, in order. */
export function decisionsOf(method: Method, answers: FoldAnswers): Decision[] {
  const local = argmaxRows(answers.local, classes.length)
  const server = argmaxRows(answers.server, classes.length)
  return Array.from(answers.labels, (label, row) => {
    const known = { run: answers.runs[row]!, label }
    if (method === 'rms') {
      const faulty = answers.levels[row]! > answers.rmsLimit
      return { ...known, named: faulty ? undefined : NORMAL, faulty, escalated: false }
    }
    // Written so that a score that is no number escalates.
    const escalated = method === 'server' || (method === 'hierarchical' && !(answers.scores[row]! >= answers.threshold))
    const named = escalated ? server[row]! : local[row]!
    return { ...known, named, faulty: named !== NORMAL, escalated }
  })
}
