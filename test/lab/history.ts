import { AuditedPolicy, classificationOf, createPolicy, type LocalResult, Random } from '@faultline/inference'
import type { Inference } from '@faultline/protocol'
import { inference, inferencePoint, iso, model, noon } from '../telemetry/messages.ts'

export const classes = ['normal', 'ball', 'inner-race']

/** One recorded window; `truth` is what nobody but the test knows of all of them. */
export interface Recorded {
  inference: Inference
  truth: string
  device: string
}

export interface RecordedOptions {
  windows?: number
  auditRate?: number
  machine?: string
  seed?: number
  /** Of verdicts, by the number of the window. */
  arrives?: (index: number) => boolean
  begin?: number
}

export const answer = (...probabilities: number[]): LocalResult => ({
  ...classificationOf(classes, probabilities),
  classes,
})

/** What a device with `threshold` at 0.8 and audits publishes about a machine that has a fault in some windows. */
export function recordedWindows({
  windows = 2_000,
  auditRate = 0.2,
  machine = 'press-3',
  seed = 1,
  arrives = () => true,
  begin = noon,
}: RecordedOptions = {}): Recorded[] {
  const random = new Random(seed)
  const policy = new AuditedPolicy(createPolicy({ name: 'threshold', parameters: { threshold: 0.8 } }), {
    rate: auditRate,
    seed,
  })
  return Array.from({ length: windows }, (_, index) => {
    const top = 0.5 + 0.5 * random.uniform() ** 0.5
    const local = answer(top, 0.7 * (1 - top), 0.3 * (1 - top))
    const truth = random.uniform() < top ? 'normal' : 'ball'
    const { action, reason, numbers } = policy.decide(local, { price: 0.25 })
    const escalated = action === 'escalate'
    const answered = escalated && arrives(index)
    return {
      truth,
      device: machine,
      inference: inference({
        id: `${machine}-${index}`,
        at: iso(begin + index),
        machine,
        label: answered ? truth : local.label,
        confidence: local.confidence,
        decidedBy: answered ? 'server' : escalated ? 'local-fallback' : 'local',
        outcome: answered ? 'answered' : escalated ? 'late' : 'accepted',
        reason,
        numbers,
        local: {
          label: local.label,
          confidence: local.confidence,
          probabilities: Object.fromEntries(classes.map((name, i) => [name, local.probabilities[i]!])),
          model,
        },
        escalationBytes: 4_000 + index,
        ...(answered && { server: { label: truth, confidence: 0.99, model, agent: 'server-1' } }),
      }),
    }
  })
}

export const pointsOf = (windows: readonly Recorded[]) =>
  windows.map(({ inference, device }) => inferencePoint(inference, { device }))
