import {
  type Alarm,
  type CommandResult,
  type ConfigReported,
  type DeviceState,
  decodeMessage,
  encodePayload,
  type Health,
  type Inference,
  type Message,
  newId,
  type Payload,
  type ServerState,
  type Summary,
  type TopicAddress,
  type TopicKind,
  topicOf,
  type UpdateStatus,
  type Verdict,
} from '@faultline/protocol'
import { pointOf } from '../../telemetry/measurements.ts'
import type { TelemetryPoint } from '../../telemetry/point.ts'
import type { Retention } from '../../telemetry/retention.ts'

/** A time all samples lie about; in the past, so that no store takes it for the future. */
export const noon = Date.UTC(2024, 4, 1, 12)
/** Keeps points of any time. */
export const forever: Retention = { rawDays: 36_500, minuteDays: 36_500, hourDays: 36_500 }
export const iso = (time: number): string => new Date(time).toISOString()
export const place = { site: 'plant-a', device: 'press-3', point: 'motor-de' }
export const model = { name: 'bearings-local', version: '1.2.0', digest: 'sha256:0123456789abcdef' }

export const inference = (changes: Partial<Inference> = {}): Inference => ({
  id: newId(),
  at: iso(noon),
  machine: 'press-3',
  label: 'normal',
  confidence: 0.9,
  decidedBy: 'local',
  outcome: 'accepted',
  reason: 'confident',
  numbers: { score: 0.9, threshold: 0.8 },
  local: { label: 'normal', confidence: 0.9, model },
  latencyMs: 12.5,
  features: { rms: 0.25, kurtosis: 3.1 },
  shaftHz: 29.5,
  ...changes,
})

/** One payload of every kind that is recorded, as a fleet would send it. */
export const samples = {
  inference: inference({
    label: 'ball',
    decidedBy: 'server',
    outcome: 'answered',
    local: { ...inference().local, probabilities: { normal: 0.9, ball: 0.0999, 'inner-race': 0.0001 } },
    escalationBytes: 4_512,
    server: { label: 'ball', confidence: 0.97, model: { ...model, name: 'bearings-server' }, agent: 'server-1' },
  }),
  summary: {
    from: iso(noon - 60_000),
    to: iso(noon),
    machine: 'press-3',
    windows: 60,
    labels: { normal: 58, ball: 2 },
    outcomes: { accepted: 57, answered: 3 },
    confidence: { min: 0.5, mean: 0.9, max: 0.99 },
    features: { rms: { min: 0.1, mean: 0.2, max: 0.3 } },
  } satisfies Summary,
  verdict: {
    id: 'window-1',
    label: 'ball',
    confidence: 0.97,
    probabilities: [0.01, 0.97, 0.01, 0.01],
    model,
    agent: 'server-1',
    queueMs: 3,
    inferMs: 1.5,
  } satisfies Verdict,
  health: {
    at: iso(noon),
    uptimeS: 3_600,
    counters: { windows: 11, accepted: 5, answered: 1, late: 1, rejected: 1, offline: 1, withheld: 1, pending: 1 },
    audits: 1,
    revisions: 1,
    errors: 0,
    overruns: 3,
    queues: { spool: 2, pending: 1, dropped: 4 },
    roundTripMs: { median: 20, p95: 45, samples: 30 },
    bytes: { sent: 10_000, escalations: 9_000, received: 500 },
    budget: {
      total: { used: 30_000, left: 70_000 },
      escalations: { used: 20_000, left: 30_000 },
      exploration: { used: 5_000, left: 0 },
    },
    price: { value: 0.08, link: 'lte', metered: true, battery: 0.7, serverLoad: 0.1 },
    memoryBytes: 90_000_000,
    temperatureC: 51.5,
    energyJ: 12,
  } satisfies Health,
  state: {
    online: true,
    at: iso(noon),
    boot: 4,
    clockSynchronised: true,
    agentVersion: '0.1.0',
    models: [{ ...model, task: 'bearings', role: 'local', engine: 'onnx', enginesRejected: [] }],
    policy: { name: 'threshold', parameters: {} },
    points: [{ point: 'motor-de', machine: 'press-3', rateHz: 12_000, windowSamples: 2_048 }],
  } satisfies DeviceState,
  'server-state': {
    online: true,
    at: iso(noon),
    boot: 2,
    agentVersion: '0.1.0',
    models: [{ ...model, task: 'bearings', role: 'server', engine: 'onnx', enginesRejected: [] }],
    capacity: { maxBatch: 32, maxQueue: 1_000 },
    load: { queued: 3, answered: 100, rejected: 2, windowsPerSecond: 12.5, waitMs: 240 },
  } satisfies ServerState,
  'command-result': { id: 'command-1', name: 'capture', at: iso(noon), ok: true } satisfies CommandResult,
  'config-reported': {
    revision: 7,
    at: iso(noon),
    status: 'applied',
    config: { policy: { name: 'threshold', parameters: {} }, price: 0.2, auditRate: 0.01, reporting: 'exception' },
  } satisfies ConfigReported,
  alarm: {
    site: 'plant-a',
    machine: 'press-3',
    fault: 'ball',
    state: 'shelved',
    priority: 'medium',
    acknowledged: false,
    since: iso(noon - 1_000),
    at: iso(noon),
    count: 5,
    evidence: [
      {
        id: 'window-1',
        at: iso(noon),
        device: 'press-3',
        point: 'motor-de',
        label: 'ball',
        confidence: 0.97,
        decidedBy: 'server',
      },
    ],
    suppression: { kind: 'shelved', active: true, until: iso(noon + 3_600_000) },
    action: { name: 'shelve', at: iso(noon), by: 'anna', comment: 'bearing is ordered' },
    notified: { count: 1, at: iso(noon - 1_000), to: 'anna@example.com' },
  } satisfies Alarm,
  'update-status': {
    id: 'r-1',
    kind: 'bundle',
    digest: `sha256:${'0'.repeat(64)}`,
    at: iso(noon),
    state: 'probation',
    probation: { seconds: 61.2, windows: 358, audits: 34, wrong: 1 },
  } satisfies UpdateStatus,
} satisfies { [K in TopicKind]?: Payload<K> }

export type RecordedKind = keyof typeof samples
export const recordedKinds = Object.keys(samples) as RecordedKind[]

export const topicFor = (kind: TopicKind, names: Record<string, string> = {}): string =>
  topicOf({ ...place, server: 'server-1', machine: 'press-3', fault: 'ball', ...names, kind } as TopicAddress)

/** The message as the recorder gets it: encoded, sent, read and checked. */
export function messageOf<K extends TopicKind>(
  kind: K,
  payload: Payload<K>,
  names: Record<string, string> = {},
): Message {
  return decodeMessage(topicFor(kind, names), encodePayload(kind, payload))
}

export function inferencePoint(changes: Partial<Inference> = {}, names: Record<string, string> = {}): TelemetryPoint {
  return pointOf(messageOf('inference', inference(changes), names), noon)!
}

export function samplePoint(kind: RecordedKind): TelemetryPoint {
  return pointOf(messageOf(kind, samples[kind]), noon)!
}
