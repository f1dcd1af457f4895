import { type LabelledWindow, rms } from '../data/windows.ts'
import { rounded } from '../training/metrics.ts'

/** A rule any model has to beat: a window whose level is above a limit is faulty. It cannot name the fault. */
export interface RmsBaseline {
  /** In the unit of the recordings. */
  limit: number
  /** Share of windows for which "faulty" or "normal" was right. */
  detectionAccuracy: number
  falseAlarmRate: number
  missedFaultRate: number
}

/** Chooses the limit with the best balanced accuracy on `known`, then counts on `unseen`. */
export function rmsBaseline(known: readonly LabelledWindow[], unseen: readonly LabelledWindow[]): RmsBaseline {
  const levels = (windows: readonly LabelledWindow[]) =>
    windows.map(labelled => ({ level: rms(labelled.window.samples), faulty: labelled.class !== 'normal' }))
  const rates = (windows: ReturnType<typeof levels>, limit: number) => {
    const share = (faulty: boolean) => {
      const group = windows.filter(window => window.faulty === faulty)
      return group.filter(window => window.level > limit !== faulty).length / Math.max(group.length, 1)
    }
    return { falseAlarmRate: share(false), missedFaultRate: share(true) }
  }
  const training = levels(known)
  const sorted = training.map(window => window.level).sort((a, b) => a - b)
  let best = { limit: 0, errors: Number.POSITIVE_INFINITY }
  for (let i = 1; i < sorted.length; i++) {
    const limit = (sorted[i - 1]! + sorted[i]!) / 2
    const { falseAlarmRate, missedFaultRate } = rates(training, limit)
    if (falseAlarmRate + missedFaultRate < best.errors) best = { limit, errors: falseAlarmRate + missedFaultRate }
  }
  const checked = levels(unseen)
  const { falseAlarmRate, missedFaultRate } = rates(checked, best.limit)
  const right = checked.filter(window => window.level > best.limit === window.faulty).length
  return {
    limit: rounded(best.limit),
    detectionAccuracy: rounded(right / checked.length),
    falseAlarmRate: rounded(falseAlarmRate),
    missedFaultRate: rounded(missedFaultRate),
  }
}
