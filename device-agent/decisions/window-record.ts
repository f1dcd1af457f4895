import type { DecisionContext, LocalResult } from '@faultline/inference'
import {
  type AnsweredVerdict,
  type Escalation,
  encodeWindow,
  escalationVersion,
  type Inference,
  type ModelReference,
  newId,
  type Outcome,
} from '@faultline/protocol'
import type { SourceWindow } from '../sources/source.ts'
import { type Assessment, finite, type LocalModel, rounded } from './assessment.ts'

/** One window on its way to an inference: all that must be known to publish it, without its samples. */
export interface WindowRecord {
  id: string
  point: string
  machine: string
  at: Date
  assessment: Assessment
  model: ModelReference
  /** The price when the decision was made, and the costs of a price list. */
  context: DecisionContext
  shaftHz?: number
  /** False where the model knows no normal class. */
  faults?: false
  truth?: string
  /** It waited for a connection, which says nothing about how long verdicts take. */
  deferred?: true
  /** Topic and payload of the escalation, sent or not; known once the decision is carried out. */
  escalationBytes?: number
}

const digestDigits = 16

/** Probabilities of more classes than this would be most of a message that is sent for every window. */
const mostProbabilities = 16

/** A model as messages name it: 64 bit of the digest tell builds apart, and an inference is sent for every window. */
export function referenceOf({ name, version, digest }: ModelReference): ModelReference {
  return { name, version, digest: digest.slice(0, 'sha256:'.length + digestDigits) }
}

export function recordOf(
  { window, at, truth }: SourceWindow,
  place: { point: string; machine: string },
  assessment: Assessment,
  model: LocalModel,
  { price, costs }: DecisionContext,
): WindowRecord {
  const { point, machine } = place
  const { shaftHz } = window
  return {
    id: newId(),
    point,
    machine,
    at,
    assessment,
    model: referenceOf(assessment.by ?? model.model),
    context: { price, ...(costs && { costs }) },
    ...(shaftHz !== undefined && { shaftHz }),
    ...(truth !== undefined && { truth }),
    ...(model.bundle && model.bundle.description.normal === undefined && { faults: false as const }),
  }
}

/** The final answer: the server's where there is a verdict or an episode holds, the device's own otherwise. */
export function inferenceOf(record: WindowRecord, outcome: Outcome, verdict?: AnsweredVerdict): Inference {
  const { assessment, model, at } = record
  const { local, valid, decision, features } = assessment
  const { answer } = decision
  const localConfidence = valid ? rounded(local.confidence) : null
  return {
    id: record.id,
    at: at.toISOString(),
    machine: record.machine,
    label: (verdict ?? answer ?? local).label,
    confidence: verdict || answer ? rounded((verdict ?? answer)!.confidence) : localConfidence,
    decidedBy: verdict ? 'server' : answer ? 'episode' : outcome === 'accepted' ? 'local' : 'local-fallback',
    outcome,
    reason: decision.reason,
    numbers: finite(decision.numbers),
    local: { label: local.label, confidence: localConfidence, ...(valid && probabilitiesOf(local)), model },
    ...(verdict && {
      server: {
        label: verdict.label,
        confidence: rounded(verdict.confidence),
        model: referenceOf(verdict.model),
        agent: verdict.agent,
      },
    }),
    ...(answer && { episode: { label: answer.label, confidence: rounded(answer.confidence) } }),
    latencyMs: Math.max(0, Date.now() - at.getTime()),
    features,
    ...(record.faults === false && { faults: false as const }),
    ...(record.escalationBytes !== undefined && { escalationBytes: record.escalationBytes }),
    ...(record.shaftHz !== undefined && { shaftHz: record.shaftHz }),
  }
}

function probabilitiesOf({ classes, probabilities }: LocalResult): Pick<Inference['local'], 'probabilities'> {
  if (classes.length > mostProbabilities) return {}
  return { probabilities: Object.fromEntries(classes.map((name, i) => [name, rounded(probabilities[i]!)])) }
}

/** The verdict came too late to be the answer: a second inference, which replaces the first. */
export function revisionOf(record: WindowRecord, verdict: AnsweredVerdict): Inference {
  return { ...inferenceOf(record, 'late', verdict), id: newId(), revises: record.id }
}

/** The window on its way up. */
export function escalationOf(
  record: WindowRecord,
  { window }: SourceWindow,
  model: LocalModel,
  deadlineMs: number,
  alarm = false,
): Escalation {
  const { local, valid, decision } = record.assessment
  const bearing = window.bearing ?? model.bearing
  return {
    v: escalationVersion,
    id: record.id,
    at: record.at.toISOString(),
    machine: record.machine,
    reason: decision.reason,
    ...(alarm && { alarm }),
    deadline: new Date(Date.now() + deadlineMs).toISOString(),
    task: model.task,
    local: {
      label: local.label,
      confidence: valid ? local.confidence : null,
      probabilities: local.probabilities.map(value => (Number.isFinite(value) ? value : null)),
      digest: record.model.digest,
    },
    window: encodeWindow(window, window.shape.length === 1 ? 'i16' : 'u8'),
    ...(record.shaftHz !== undefined && { shaftHz: record.shaftHz }),
    ...(bearing && { bearing }),
  }
}
