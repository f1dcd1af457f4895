import { type BundleDescription, ServerTrust, type ServerTrustModel } from '@faultline/inference'
import { outcomesOf, type PairAnswers, SHIPPED_PRICE } from '../evaluation/pair.ts'
import { chooseThreshold, fitCorrectness } from './calibration.ts'
import { argmaxRows } from './metrics.ts'

/** What a local bundle knows of when its answers will do. */
export type PairCalibration = Required<Pick<BundleDescription['calibration'], 'threshold' | 'correctness'>> &
  Pick<BundleDescription['calibration'], 'server'>

/**
 * Fits what a local model's bundle carries of when its answers will do.
 * @param answers After the temperature, on windows that trained neither model. Without a server's, it is taken to be
 *   always right.
 * @param digest Of the server's bundle.
 */
export function fitPair(
  { labels, local, server }: Omit<PairAnswers, 'server'> & { server: Float32Array | undefined },
  classes: number,
  digest: string | undefined,
): PairCalibration {
  const answers: PairAnswers = { labels, local, server: server ?? certain(labels, classes) }
  const trust = server && fitTrust(answers, classes, digest)
  return {
    threshold: chooseThreshold(outcomesOf(answers, classes), SHIPPED_PRICE),
    correctness: fitCorrectness(local, labels, classes),
    ...(trust && { server: trust }),
  }
}

/** How far the server is to be believed; undefined where the two contradict each other too seldom to tell. */
export function fitTrust(
  { labels, local, server }: PairAnswers,
  classes: number,
  digest: string | undefined,
): ServerTrustModel | undefined {
  const remote = argmaxRows(server, classes)
  const answers = Array.from(labels, (truth, row) => ({
    probabilities: Array.from(local.subarray(row * classes, (row + 1) * classes)),
    remote: remote[row]!,
    truth,
  }))
  return ServerTrust.fit(answers, { classes, model: digest })?.model
}

function certain(labels: Uint8Array, classes: number): Float32Array {
  const rows = new Float32Array(labels.length * classes)
  for (const [row, label] of labels.entries()) rows[row * classes + label] = 1
  return rows
}
