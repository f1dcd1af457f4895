import type { EventEmitter } from 'node:events'
import { type Portrait, portraitOf } from '@faultline/inference'
import type { ConfigReported, Health, Inference, Problem } from '@faultline/protocol'
import type { LocalModel } from '../decisions/assessment.ts'
import type { DeviceAgentEvents, InferenceEvent } from '../options.ts'
import type { AgentPoint } from '../point-monitor.ts'
import type { SourceWindow } from '../sources/source.ts'

/** Inferences shown of each point. */
const KEPT_DECISIONS = 30

/** What the page asks of the agent it shows. */
export interface ShownAgent extends Pick<EventEmitter<DeviceAgentEvents>, 'on' | 'off'> {
  readonly online: boolean
  readonly health: Health | undefined
  readonly configuration: ConfigReported | undefined
  readonly problems: readonly Problem[]
}

export interface StatusBoardOptions {
  site: string
  device: string
  agent: ShownAgent
  points: readonly AgentPoint[]
  /** The one in force: updates exchange it. */
  model: () => Pick<LocalModel, 'model' | 'engine' | 'bearing'>
}

/** Without what only a window has before the first. */
export interface PointStatus extends Partial<Omit<Portrait, 'rateHz'>> {
  point: string
  machine: string
  rateHz: number
  /** When the window shown was taken; absent before the first. */
  at?: string
  /** Newest first. */
  decisions: Inference[]
}

export interface DeviceStatus {
  at: string
  site: string
  device: string
  online: boolean
  model: { name: string; version: string; engine: string }
  health?: Health
  configuration?: ConfigReported
  /** What is wrong with the device itself; empty where nothing is. */
  problems: readonly Problem[]
  points: { point: string; machine: string; label?: string; confidence?: number | null }[]
}

/** What a person beside the machine gets to see. It keeps the last window of each point and computes only when asked. */
export class StatusBoard {
  private readonly options: StatusBoardOptions
  private readonly windows = new Map<string, SourceWindow>()
  private readonly decisions = new Map<string, Inference[]>()

  constructor(options: StatusBoardOptions) {
    this.options = options
  }

  follow(): void {
    this.options.agent.on('window', this.take).on('inference', this.add)
  }

  unfollow(): void {
    this.options.agent.off('window', this.take).off('inference', this.add)
  }

  private readonly take = (point: string, window: SourceWindow): void => {
    this.windows.set(point, window)
  }

  private readonly add = ({ address, inference }: InferenceEvent): void => {
    const kept = this.decisions.get(address.point) ?? []
    const revised = kept.findIndex(({ id }) => id === inference.revises)
    if (revised >= 0) kept[revised] = inference
    else kept.unshift(inference)
    if (kept.length > KEPT_DECISIONS) kept.pop()
    this.decisions.set(address.point, kept)
  }

  get device(): DeviceStatus {
    const { site, device, agent, points } = this.options
    const model = this.options.model()
    const { health, configuration, problems } = agent
    return {
      at: new Date().toISOString(),
      site,
      device,
      online: agent.online,
      model: { name: model.model.name, version: model.model.version, engine: model.engine },
      ...(health && { health }),
      ...(configuration && { configuration }),
      problems,
      points: points.map(({ point, machine }) => {
        const newest = this.decisions.get(point)?.[0]
        return { point, machine, ...(newest && { label: newest.label, confidence: newest.confidence }) }
      }),
    }
  }

  /** Undefined for a name that is none. */
  point(name: string): PointStatus | undefined {
    const place = this.options.points.find(({ point }) => point === name)
    if (!place) return undefined
    const { point, machine, source } = place
    const status = { point, machine, rateHz: source.rateHz, decisions: this.decisions.get(name) ?? [] }
    const taken = this.windows.get(name)
    if (taken?.window.shape.length !== 1) return status
    const { window, at } = taken
    return { ...status, at: at.toISOString(), ...portraitOf(window, window.bearing ?? this.options.model().bearing) }
  }
}
