import { costAt, type Outcome } from '../training/calibration.ts'
import { argmaxRows, type ClassificationMetrics, classificationMetrics, rounded } from '../training/metrics.ts'

/** Price at which the shipped threshold is chosen, in wrong accepted answers per escalation. */
export const SHIPPED_PRICE = 0.2

/** Class probabilities of both models for the same windows, row after row. */
export interface PairAnswers {
  labels: Uint8Array
  local: Float32Array
  server: Float32Array
  /** What a threshold looks at; the largest local probability when absent. */
  scores?: Float32Array
}

/** What hierarchical inference makes of the windows at one threshold. */
export interface HierarchicalMetrics extends ClassificationMetrics {
  threshold: number
  price: number
  /** Share of windows escalated. */
  escalated: number
  /** Wrong answers plus price times escalations, per window. */
  cost: number
}

export function outcomesOf({ labels, local, server, scores }: PairAnswers, classes: number): Outcome[] {
  const localAnswers = argmaxRows(local, classes)
  const serverAnswers = argmaxRows(server, classes)
  return Array.from(labels, (label, row) => ({
    confidence: scores?.[row] ?? local[row * classes + localAnswers[row]!]!,
    localRight: localAnswers[row] === label,
    serverRight: serverAnswers[row] === label,
  }))
}

/** Final answers when every window below `threshold` is escalated and every escalation answered. */
export function hierarchicalMetrics(
  answers: PairAnswers,
  classes: readonly string[],
  threshold: number,
  price: number,
): HierarchicalMetrics {
  const outcomes = outcomesOf(answers, classes.length)
  const local = argmaxRows(answers.local, classes.length)
  const server = argmaxRows(answers.server, classes.length)
  const final = local.map((answer, row) => (outcomes[row]!.confidence < threshold ? server[row]! : answer))
  const { escalated, cost } = costAt(outcomes, threshold, price)
  return {
    threshold,
    price,
    escalated: rounded(escalated),
    cost: rounded(cost),
    ...classificationMetrics(answers.labels, final, classes),
  }
}
