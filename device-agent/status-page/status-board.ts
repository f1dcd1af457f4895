import type { EventEmitter } from 'node:events'
import {
  amplitudeSpectrum,
  type Bearing,
  envelopeSpectrum,
  frequenciesHz,
  type Spectrum,
  wideBand,
} from '@faultline/inference'
import type { ConfigReported, Health, Inference } from '@faultline/protocol'
import type { LocalModel } from '../decisions/assessment.ts'
import type { DeviceAgentEvents, InferenceEvent } from '../options.ts'
import type { AgentPoint } from '../point-monitor.ts'
import type { SourceWindow } from '../sources/source.ts'

/** Inferences shown of each point. */
const KEPT_DECISIONS = 30
/** Harmonics of each defect frequency that get a cursor. */
const HARMONICS = 3
/** The envelope spectrum ends a little past the last cursor; without a speed at this share of the sampling rate. */
const ENVELOPE_SHARE = 1 / 12

/** What the page asks of the agent it shows. */
export interface ShownAgent extends Pick<EventEmitter<DeviceAgentEvents>, 'on' | 'off'> {
  readonly online: boolean
  readonly health: Health | undefined
  readonly configuration: ConfigReported | undefined
}

export interface StatusBoardOptions {
  site: string
  device: string
  agent: ShownAgent
  points: readonly AgentPoint[]
  model: Pick<LocalModel, 'model' | 'engine' | 'bearing'>
}

/** A defect frequency in the envelope spectrum. */
export interface Cursor {
  name: keyof Bearing
  harmonic: number
  hz: number
}

/** Amplitudes at 0, `stepHz`, 2 `stepHz` … */
interface Line {
  stepHz: number
  values: number[]
}

export interface PointStatus {
  point: string
  machine: string
  rateHz: number
  shaftHz?: number
  /** When the window shown was taken; absent before the first. */
  at?: string
  /** Samples in the unit of the source, g for acceleration. */
  waveform?: number[]
  spectrum?: Line
  envelope?: Line
  cursors: Cursor[]
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
    const { site, device, agent, model, points } = this.options
    const { health, configuration } = agent
    return {
      at: new Date().toISOString(),
      site,
      device,
      online: agent.online,
      model: { name: model.model.name, version: model.model.version, engine: model.engine },
      ...(health && { health }),
      ...(configuration && { configuration }),
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
    const status = { point, machine, rateHz: source.rateHz, cursors: [], decisions: this.decisions.get(name) ?? [] }
    const taken = this.windows.get(name)
    if (taken?.window.shape.length !== 1) return status
    return { ...status, ...this.signalOf(taken) }
  }

  private signalOf({ window, at }: SourceWindow): Partial<PointStatus> {
    const { samples, rateHz, shaftHz } = window
    const bearing = window.bearing ?? this.options.model.bearing
    const cursors = shaftHz !== undefined && bearing ? cursorsOf(bearing, shaftHz) : []
    const highest = cursors.length > 0 ? 1.1 * Math.max(...cursors.map(({ hz }) => hz)) : rateHz * ENVELOPE_SHARE
    return {
      at: at.toISOString(),
      ...(shaftHz !== undefined && { shaftHz }),
      waveform: Array.from(samples, rounded),
      spectrum: lineOf(amplitudeSpectrum(samples, rateHz), rateHz / 2),
      envelope: lineOf(envelopeSpectrum(samples, rateHz, wideBand(rateHz)), highest),
      cursors: cursors.filter(({ hz }) => hz <= rateHz / 2),
    }
  }
}

/** A defect of a ball strikes both races: its impacts come at twice the spin. */
function cursorsOf(bearing: Bearing, shaftHz: number): Cursor[] {
  const hz = frequenciesHz(bearing, shaftHz)
  const impacts = { bpfo: hz.bpfo, bpfi: hz.bpfi, bsf: 2 * hz.bsf, ftf: hz.ftf }
  return (Object.entries(impacts) as [keyof Bearing, number][]).flatMap(([name, first]) =>
    Array.from({ length: HARMONICS }, (_, i) => ({ name, harmonic: i + 1, hz: rounded(first * (i + 1)) })),
  )
}

/** Without the mean, whose remains in the first bins would dwarf the others. */
function lineOf({ amplitudes, binHz }: Spectrum, highestHz: number): Line {
  const bins = Math.min(amplitudes.length, Math.ceil(highestHz / binHz) + 1)
  return { stepHz: binHz, values: Array.from(amplitudes.subarray(0, bins), (value, i) => (i < 2 ? 0 : rounded(value))) }
}

const rounded = (value: number): number => Number(value.toPrecision(4))
