import {
  type Alarm,
  type CommandResult,
  type ConfigReported,
  type DeviceState,
  FaultlineError,
  findingOf,
  type Health,
  type Inference,
  isRejected,
  type LoadedModel,
  type Message,
  type ModelReference,
  type Range,
  type ServerState,
  type Summary,
  type UpdateStatus,
  type Verdict,
} from '@faultline/protocol'
import { namedFields, offsetOf, storablePoint, type TelemetryPoint, timeRange } from './point.ts'

type Place = { site: string; device: string }
type MeasurementPoint = Place & { point: string }

/**
 * The record of a message; undefined for a kind that is not recorded (escalations, what is asked of devices, and what they learn).
 * `receivedAt` (ms) dates the messages that carry no time of their own: verdicts, and a device's will.
 * Throws `MESSAGE_INVALID` for a time outside 1970 to 2199.
 */
export function pointOf(message: Message, receivedAt: number): TelemetryPoint | undefined {
  const point = convert(message, receivedAt)
  if (point && !(point.time >= timeRange.from && point.time < timeRange.to)) {
    throw new FaultlineError('MESSAGE_INVALID', `${message.kind}: its time is not between 1970 and 2199`)
  }
  return point
}

/**
 * The record of an answered audit, besides that of its window; undefined for every other message. `normal` is the class
 * that means nothing is wrong. Dated and told apart by the window, so that a second delivery is no second audit.
 */
export function auditPointOf(message: Message, normal: string): TelemetryPoint | undefined {
  const found = message.kind === 'inference' ? findingOf(message.payload, normal) : undefined
  if (message.kind !== 'inference' || !found) return undefined
  const { site, device, point } = message.address
  const { at, machine, local, server } = message.payload
  return storablePoint({
    measurement: 'audit',
    tags: { site, device, point, machine, audited: local.model.digest, finding: found.finding },
    fields: {
      id: found.window,
      localLabel: local.label,
      serverLabel: server?.label,
      serverDigest: server?.model.digest,
    },
    time: Date.parse(at),
    offset: offsetOf(found.window),
  })
}

function convert(message: Message, receivedAt: number): TelemetryPoint | undefined {
  switch (message.kind) {
    case 'inference':
      return inferencePoint(message.address, message.payload)
    case 'summary':
      return summaryPoint(message.address, message.payload)
    case 'verdict':
      return verdictPoint(message.address, message.payload, receivedAt)
    case 'health':
      return healthPoint(message.address, message.payload)
    case 'state':
      return statePoint(message.address, message.payload, receivedAt)
    case 'server-state':
      return serverStatePoint(message.address, message.payload, receivedAt)
    case 'command-result':
      return commandResultPoint(message.address, message.payload)
    case 'config-reported':
      return configReportedPoint(message.address, message.payload)
    case 'alarm':
      return alarmPoint(message.payload)
    case 'update-status':
      return updatePoint(message.address, message.payload)
    case 'escalation':
    case 'upstream-escalation':
    case 'upstream-verdict':
    case 'evidence':
    case 'pool':
    case 'command':
    case 'config-desired':
      return undefined
  }
}

function inferencePoint({ site, device, point }: MeasurementPoint, payload: Inference): TelemetryPoint {
  const { id, machine, label, decidedBy, outcome, local, server, revises } = payload
  return storablePoint({
    measurement: 'inference',
    tags: { site, device, point, machine, label, decidedBy, outcome, revision: revises === undefined ? 'no' : 'yes' },
    fields: {
      id,
      revises,
      confidence: payload.confidence,
      reason: payload.reason,
      latencyMs: payload.latencyMs,
      escalationBytes: payload.escalationBytes,
      shaftHz: payload.shaftHz,
      localLabel: local.label,
      localConfidence: local.confidence,
      ...namedFields('probability', local.probabilities),
      localModel: modelName(local.model),
      localDigest: local.model.digest,
      serverLabel: server?.label,
      serverConfidence: server?.confidence,
      serverModel: server && modelName(server.model),
      serverDigest: server?.model.digest,
      serverAgent: server?.agent,
      ...namedFields('number', payload.numbers),
      ...namedFields('feature', payload.features),
    },
    time: Date.parse(payload.at),
    // A revision speaks of the same window, possibly under the same id: without `revises` it would replace the original.
    offset: offsetOf(id, revises ?? ''),
  })
}

function summaryPoint({ site, device, point }: MeasurementPoint, payload: Summary): TelemetryPoint {
  const features = Object.entries(payload.features).flatMap(([name, range]) => Object.entries(rangeFields(name, range)))
  return storablePoint({
    measurement: 'summary',
    tags: { site, device, point, machine: payload.machine },
    fields: {
      intervalMs: Date.parse(payload.to) - Date.parse(payload.from),
      windows: payload.windows,
      ...namedFields('label', payload.labels),
      ...namedFields('outcome', payload.outcomes),
      ...(payload.confidence && rangeFields('confidence', payload.confidence)),
      ...namedFields('feature', Object.fromEntries(features)),
    },
    time: Date.parse(payload.to),
    offset: offsetOf(payload.from),
  })
}

function verdictPoint({ site, device, point }: MeasurementPoint, verdict: Verdict, receivedAt: number): TelemetryPoint {
  const common = { measurement: 'verdict', time: receivedAt, offset: offsetOf(verdict.id) } as const
  const { id, agent } = verdict
  if (isRejected(verdict)) {
    const fields = { id, retryAfterMs: verdict.retryAfterMs }
    return storablePoint({ ...common, tags: { site, device, point, agent, result: verdict.rejected }, fields })
  }
  const { label, confidence, queueMs, inferMs, model } = verdict
  return storablePoint({
    ...common,
    tags: { site, device, point, agent, label, result: 'answered' },
    fields: { id, confidence, queueMs, inferMs, model: modelName(model), digest: model.digest },
  })
}

function healthPoint({ site, device }: Place, payload: Health): TelemetryPoint {
  const { counters, queues, roundTripMs, bytes } = payload
  return storablePoint({
    measurement: 'health',
    tags: { site, device },
    fields: {
      uptimeS: payload.uptimeS,
      ...counters,
      audits: payload.audits,
      revisions: payload.revisions,
      errors: payload.errors,
      overruns: payload.overruns,
      spoolQueue: queues.spool,
      pendingQueue: queues.pending,
      droppedMessages: queues.dropped,
      roundTripMedianMs: roundTripMs?.median,
      roundTripP95Ms: roundTripMs?.p95,
      roundTripSamples: roundTripMs?.samples,
      bytesSent: bytes.sent,
      bytesEscalations: bytes.escalations,
      budgetUsed: payload.budget?.total.used,
      budgetLeft: payload.budget?.total.left,
      escalationBudgetUsed: payload.budget?.escalations.used,
      escalationBudgetLeft: payload.budget?.escalations.left,
      explorationBudgetUsed: payload.budget?.exploration.used,
      explorationBudgetLeft: payload.budget?.exploration.left,
      price: payload.price?.value,
      link: payload.price?.link,
      battery: payload.price?.battery,
      serverLoad: payload.price?.serverLoad,
      bytesReceived: bytes.received,
      memoryBytes: payload.memoryBytes,
      temperatureC: payload.temperatureC,
      energyJ: payload.energyJ,
    },
    time: Date.parse(payload.at),
  })
}

function statePoint({ site, device }: Place, state: DeviceState, receivedAt: number): TelemetryPoint {
  const common = { measurement: 'state', time: state.at ? Date.parse(state.at) : receivedAt } as const
  if (!state.online)
    return storablePoint({ ...common, tags: { site, device, online: 'no' }, fields: { boot: state.boot } })
  return storablePoint({
    ...common,
    tags: { site, device, online: 'yes' },
    fields: {
      boot: state.boot,
      clockSynchronised: state.clockSynchronised,
      agentVersion: state.agentVersion,
      policy: state.policy.name,
      models: loadedModels(state.models),
      points: state.points.length,
    },
  })
}

function serverStatePoint({ server }: { server: string }, state: ServerState, receivedAt: number): TelemetryPoint {
  const common = { measurement: 'server_state', time: state.at ? Date.parse(state.at) : receivedAt } as const
  if (!state.online) return storablePoint({ ...common, tags: { server, online: 'no' }, fields: { boot: state.boot } })
  return storablePoint({
    ...common,
    tags: { server, online: 'yes' },
    fields: {
      boot: state.boot,
      agentVersion: state.agentVersion,
      models: loadedModels(state.models),
      ...state.capacity,
      ...state.load,
    },
  })
}

function commandResultPoint({ site, device }: Place, payload: CommandResult): TelemetryPoint {
  return storablePoint({
    measurement: 'command_result',
    // The name is a field: whoever sends commands chooses it freely.
    tags: { site, device },
    fields: { id: payload.id, command: payload.name, ok: payload.ok, errorCode: payload.error?.code },
    time: Date.parse(payload.at),
    offset: offsetOf(payload.id),
  })
}

function configReportedPoint({ site, device }: Place, payload: ConfigReported): TelemetryPoint {
  const { policy, auditRate, episodes, prices, budget, pace: _, sources: _sources, ...settings } = payload.config
  return storablePoint({
    measurement: 'config_reported',
    tags: { site, device, status: payload.status },
    fields: {
      desiredRevision: payload.revision,
      errorCode: payload.error?.code,
      policy: policy?.name,
      ...auditFields(auditRate),
      ...episodeFields(episodes),
      ...settings,
      ...priceFields(prices),
      ...budget,
    },
    time: Date.parse(payload.at),
    offset: offsetOf(String(payload.revision)),
  })
}

/** A fixed rate, or what the rate is to prove: InfluxDB has one type for a field. */
const auditFields = (setting: ConfigReported['config']['auditRate']) =>
  typeof setting === 'object'
    ? { auditMissedAtMost: setting.missedFaultsAtMost, auditWithinDays: setting.withinDays }
    : { auditRate: setting }

const episodeFields = (setting: ConfigReported['config']['episodes']) =>
  setting === 'off' || !setting ? {} : { episodeAgreeing: setting.agreeing, episodeHoldS: setting.holdS }

function alarmPoint(payload: Alarm): TelemetryPoint {
  const { site, machine, fault, state } = payload
  return storablePoint({
    measurement: 'alarm',
    tags: { site, machine, fault, state },
    fields: {
      acknowledged: payload.acknowledged,
      priority: payload.priority,
      ...(payload.suppression && { suppression: payload.suppression.kind, present: payload.suppression.active }),
      ...(payload.action && {
        action: payload.action.name,
        actionMs: Date.parse(payload.action.at),
        actionBy: payload.action.by,
        comment: payload.action.comment,
      }),
      ...(payload.notified && { notified: payload.notified.count, notifiedTo: payload.notified.to }),
      sinceMs: Date.parse(payload.since),
      windows: payload.count,
      evidence: payload.evidence.length,
      newestEvidenceId: payload.evidence.at(-1)?.id,
    },
    time: Date.parse(payload.at),
  })
}

function updatePoint({ site, device }: Place, payload: UpdateStatus): TelemetryPoint {
  const { id, kind, digest, state, received, bytes, probation, error } = payload
  return storablePoint({
    measurement: 'update',
    tags: { site, device, state },
    fields: {
      id,
      kind,
      digest,
      receivedBytes: received,
      archiveBytes: bytes,
      probationS: probation?.seconds,
      probationWindows: probation?.windows,
      probationAudits: probation?.audits,
      probationWrong: probation?.wrong,
      errorCode: error?.code,
    },
    time: Date.parse(payload.at),
    offset: offsetOf(id),
  })
}

/** The prices of the link that is assumed stand for all: a table would not fit into a point. */
const priceFields = (prices: ConfigReported['config']['prices']) =>
  prices && {
    currency: prices.currency,
    missedFaultCost: prices.missedFaultCost,
    falseAlarmCost: prices.falseAlarmCost,
    link: prices.link,
    tariffPerMB: prices.links[prices.link]?.tariffPerMB,
  }

const modelName = (model: ModelReference): string => `${model.name}@${model.version}`

const loadedModels = (models: readonly LoadedModel[]): string =>
  models.map(model => `${model.role} ${modelName(model)} on ${model.engine}`).join(', ')

const rangeFields = (name: string, range: Range): Record<string, number> => ({
  [`${name}_min`]: range.min,
  [`${name}_mean`]: range.mean,
  [`${name}_max`]: range.max,
})
