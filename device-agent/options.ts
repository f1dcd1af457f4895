import type { ConfigReported, Inference, LoadedModel, Problem, TopicAddress } from '@faultline/protocol'
import type { BrokerAccess, Logger } from '@faultline/runtime'
import type { RuntimeSettings } from './control/configuration.ts'
import type { LocalModel } from './decisions/assessment.ts'
import type { EnergyConstants } from './link/energy.ts'
import type { AgentPoint } from './point-monitor.ts'
import type { PointSources } from './sources/point-sources.ts'
import type { SourceWindow } from './sources/source.ts'
import type { SpoolBounds } from './spool/spool.ts'
import type { Updater } from './updates/updater.ts'

export interface DeviceAgentOptions extends Omit<RuntimeSettings, 'pace' | 'sources'> {
  /** Every window is judged when absent. */
  pace?: RuntimeSettings['pace']
  site: string
  device: string
  broker: BrokerAccess & { backOff?: { initialMs: number; maximumMs: number } }
  points: readonly AgentPoint[]
  /** Changes what they measure with while the agent runs; nobody can when absent. */
  sources?: Pick<PointSources, 'check' | 'use'>
  /** The local model; not disposed of by the agent, because several agents of one process may share it. */
  classifier: LocalModel
  /** Engines tried before the one in use, for the state message. */
  enginesRejected?: LoadedModel['enginesRejected']
  /** Holds the spool, the boot counter and the last configuration. */
  dataDirectory: string
  /** Holds the charge of the battery in per cent, where there is one. */
  batteryFile?: string
  /** For an estimate of the energy taken; none when absent. */
  energy?: EnergyConstants
  /** Pauses between attempts to write to a disk that failed; ten seconds and five minutes when absent. */
  diskRetryMs?: { first: number; max: number }
  /** What is kept while there is no connection. */
  spool?: { maximumBytes: number; maximumDays: number }
  /** Of the audits; random when absent. */
  seed?: number
  /** Of the package that the software came in. */
  agentDigest?: string | undefined
  /** What is told of updates, and decides about them; none are taken when absent. */
  updates?: UpdateParty
  /** What the process that holds the agent found wrong with the device; nothing when absent. */
  problems?: () => readonly Problem[]
  /** How often what policies have learned is told to others; ten minutes when absent. */
  evidenceIntervalS?: number
  logger: Logger
}

/** What the agent asks of an `Updater`. */
export type UpdateParty = Pick<
  Updater,
  'auditRate' | 'connected' | 'disconnected' | 'offered' | 'withdrawn' | 'chunk' | 'inferred'
>

/** One inference, as the process that holds the agent may follow it. */
export interface InferenceEvent {
  address: Extract<TopicAddress, { kind: 'inference' }>
  inference: Inference
  /** What was truly the matter, where the source knows. */
  truth?: string
}

/** The settings an agent begins with, as its file has them. */
export function settingsOf(options: DeviceAgentOptions): RuntimeSettings {
  const { policy, price, prices, budget, auditRate, episodes, deadlineMs } = options
  const { reporting, summaryIntervalS, healthIntervalS, pace = {} } = options
  const rates = { reporting, summaryIntervalS, healthIntervalS, pace, sources: {} }
  return { policy, price, prices, budget, auditRate, episodes, deadlineMs, ...rates }
}

/** The bounds of the spool, as its file has them. */
export const boundsOf = ({ spool }: DeviceAgentOptions): Partial<SpoolBounds> =>
  spool ? { bytes: spool.maximumBytes, ageS: spool.maximumDays * 86_400 } : {}

export interface DeviceAgentEvents {
  /** A point has taken a window; it is judged after this. */
  window: [point: string, window: SourceWindow]
  /** Every window's inference and every revision, published or not. */
  inference: [event: InferenceEvent]
  online: []
  offline: []
  /** An operator's configuration was applied or refused. */
  configured: [report: ConfigReported]
  /** A policy begins with what devices with machines of this type have learned. */
  adopted: [machineType: string]
}
