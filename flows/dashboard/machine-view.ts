import { type Portrait, portraitOf } from '@faultline/inference'
import { type Alarm, decodeWindow, type Escalation, type Inference, type Message } from '@faultline/protocol'
import { RecentMap } from '../recent-map.ts'

/** Windows in the trends and the list of decisions; a page that stays open sees the newest of them. */
const TREND_WINDOWS = 600
const KEPT_DECISIONS = 40
/** Machines and points that are kept; those heard of last stay. */
const MOST_MACHINES = 2_000
const MOST_POINTS = 64

/** Features that the page draws over time. */
export const trendFeatures = ['velocityRms', 'rms', 'kurtosis', 'crestFactor'] as const
export type TrendFeature = (typeof trendFeatures)[number]

/** Mean, or a value, of every feature at a time. */
export type TrendSample = { at: string } & Partial<Record<TrendFeature, number>>

/** A window that the device sent up, with what it and the server made of it. */
export interface SeenWindow extends Portrait {
  id: string
  at: string
  reason: string
  local: { label: string; confidence: number | null }
  server?: { label: string; confidence: number }
}

export interface PointDetail {
  device: string
  point: string
  trend: TrendSample[]
  /** The newest that a device escalated; absent before the first. */
  window?: SeenWindow
  /** Newest first. */
  decisions: Inference[]
}

export interface MachineDetail {
  site: string
  machine: string
  points: PointDetail[]
  alarms: Alarm[]
}

interface PointStore {
  device: string
  point: string
  trend: TrendSample[]
  decisions: Inference[]
  escalation?: Escalation
  /** What a server said of it. */
  answer?: Inference['server']
}

interface MachineStore {
  points: RecentMap<PointStore>
  alarms: Map<string, Alarm>
}

/** What is kept of each machine for whoever looks at it alone. Pure: no clock, no timers, no MQTT. */
export class MachineView {
  private readonly machines = new RecentMap<MachineStore>({ limit: MOST_MACHINES, isHeld: () => false })

  apply(message: Message): void {
    if (message.kind === 'inference') {
      const { site, device, point } = message.address
      this.infer(this.point(site, message.payload.machine, device, point), message.payload)
    } else if (message.kind === 'summary') {
      const { site, device, point } = message.address
      const { to, features } = message.payload
      const means = Object.entries(features).map(([name, { mean }]) => [name, mean] as const)
      keep(this.point(site, message.payload.machine, device, point).trend, sampleOf(to, Object.fromEntries(means)))
    } else if (message.kind === 'escalation') {
      const { site, device, point } = message.address
      const store = this.point(site, message.payload.machine, device, point)
      store.escalation = message.payload
      store.answer = undefined
    } else if (message.kind === 'alarm') {
      const { site, machine, fault } = message.address
      this.machine(site, machine).alarms.set(fault, message.payload)
    }
  }

  /** Undefined for a machine nobody has spoken of. */
  detail(site: string, machine: string): MachineDetail | undefined {
    const store = this.machines.get(`${site}/${machine}`)
    if (!store) return undefined
    const points = [...store.points.values()].sort(
      (a, b) => a.device.localeCompare(b.device) || a.point.localeCompare(b.point),
    )
    return {
      site,
      machine,
      points: points.map(({ escalation, answer, ...point }) => ({ ...point, ...windowOf(escalation, answer) })),
      alarms: [...store.alarms.values()].filter(({ state }) => state !== 'normal'),
    }
  }

  private infer(store: PointStore, inference: Inference): void {
    const { trend, decisions, escalation } = store
    const { id, revises, server } = inference
    if (server && [id, revises].includes(escalation?.id)) store.answer = server
    const revised = decisions.findIndex(({ id }) => id === inference.revises)
    if (revised >= 0) {
      decisions[revised] = inference
      return
    }
    if (decisions.some(({ id }) => id === inference.id)) return
    decisions.unshift(inference)
    if (decisions.length > KEPT_DECISIONS) decisions.pop()
    keep(trend, sampleOf(inference.at, inference.features))
  }

  private point(site: string, machine: string, device: string, point: string): PointStore {
    return this.machine(site, machine).points.reach(`${device}/${point}`, () => ({
      device,
      point,
      trend: [],
      decisions: [],
    }))
  }

  private machine(site: string, machine: string): MachineStore {
    return this.machines.reach(`${site}/${machine}`, () => ({
      points: new RecentMap<PointStore>({ limit: MOST_POINTS, isHeld: () => false }),
      alarms: new Map(),
    }))
  }
}

function sampleOf(at: string, features: Readonly<Record<string, number>>): TrendSample {
  const known = trendFeatures.flatMap(name => (features[name] === undefined ? [] : [[name, features[name]] as const]))
  return { at, ...Object.fromEntries(known) }
}

function keep(trend: TrendSample[], sample: TrendSample): void {
  trend.push(sample)
  if (trend.length > TREND_WINDOWS) trend.shift()
}

/** Computed when somebody looks. Images have no spectrum. */
function windowOf(escalation: Escalation | undefined, answer: Inference['server']): Pick<PointDetail, 'window'> {
  if (escalation?.window.shape.length !== 1) return {}
  const { id, at, reason, local, shaftHz, bearing } = escalation
  return {
    window: {
      id,
      at,
      reason,
      local: { label: local.label, confidence: local.confidence },
      ...(answer && { server: { label: answer.label, confidence: answer.confidence } }),
      ...portraitOf({ ...decodeWindow(escalation.window), ...(shaftHz !== undefined && { shaftHz }) }, bearing),
    },
  }
}
