import { type Portrait, portraitOf } from '@faultline/inference'
import {
  type Alarm,
  decodeWindow,
  type Escalation,
  type Inference,
  type Message,
  type TopicAddress,
} from '@faultline/protocol'
import type { InferenceRow } from '@faultline/telemetry'
import { RecentMap } from '../recent-map.ts'
import { type AlarmLine, alarmKey, byUrgency, isStanding, lineOf } from './alarm-line.ts'
import type { Look } from './look.ts'
import { Trend, type TrendPart, type TrendSample } from './trend.ts'

/** Decisions in the list, the newest. */
const maxDecisions = 40
/** Machines and points that are kept; those heard of last stay. */
const maxMachines = 2_000
const maxPoints = 64

/** Between A and B, B and C, C and D, in mm/s RMS. */
export type Zones = readonly [number, number, number]

/** A window that the device sent up, with what it and the server made of it. */
export interface SeenWindow extends Portrait {
  id: string
  at: string
  reason: string
  local: { label: string; confidence: number | null }
  server?: { label: string; confidence: number }
}

/** A decision as the page lists it. */
export interface DecisionLine {
  key: string
  id: string
  at: string
  label: string
  confidence: number | null
  outcome: string
  reason: string
  numbers?: Readonly<Record<string, number>>
  latencyMs: number
  local: { label: string; confidence: number | null }
  server?: { label: string; confidence: number }
}

/** What a telemetry store holds of a measurement point. */
export interface PastPoint {
  device: string
  point: string
  /** Newest first, revisions included. */
  windows: readonly InferenceRow[]
  /** Of windows that were not published one by one. */
  summaries: readonly TrendSample[]
}

export type MachineParts = {
  site: string
  machine: string
  /** `device / point` of each, in order, and which of them the rest is about; null before the first was heard. */
  points: string[]
  point: string | null
  /** The newest that a device escalated; null before the first. */
  window: SeenWindow | null
  alarms: AlarmLine[]
  zones: Zones
  /** Why the trends begin with what was heard since the flows run; null where the store gave the rest. */
  incomplete: string | null
}

interface PointStore {
  device: string
  point: string
  trend: Trend
  /** Newest first. */
  decisions: Decision[]
  escalation?: Escalation
  /** Made when somebody looks, once for each escalation. */
  portrait?: Portrait
  /** What a server said of it. */
  answer?: Inference['server']
}

/** A decision with the window that it is about: a revision has the window of what it revises. */
interface Decision {
  window: string
  line: DecisionLine
}

interface MachineStore {
  points: RecentMap<PointStore>
  alarms: Map<string, Alarm>
}

/** What is kept of each machine for whoever looks at it alone. Pure: no clock, no timers, no MQTT. */
export class MachineView {
  private readonly zonesOf: (site: string, machine: string) => Zones
  private readonly machines = new RecentMap<MachineStore>({ limit: maxMachines, isHeld: () => false })
  /** Machines whose past was asked for: what kept the store from telling, nothing where it did. */
  private readonly asked = new RecentMap<{ problem?: string }>({ limit: maxMachines, isHeld: () => false })

  constructor(zonesOf: (site: string, machine: string) => Zones) {
    this.zonesOf = zonesOf
  }

  apply(message: Message): void {
    if (message.kind === 'inference') {
      this.infer(this.point(message.address, message.payload.machine), message.payload)
    } else if (message.kind === 'summary') {
      const { to, features, machine } = message.payload
      const means = Object.fromEntries(Object.entries(features).map(([name, { mean }]) => [name, mean]))
      this.point(message.address, machine).trend.add({ id: `summary ${to}`, time: Date.parse(to), features: means })
    } else if (message.kind === 'escalation') {
      const store = this.point(message.address, message.payload.machine)
      store.escalation = message.payload
      store.portrait = undefined
      store.answer = undefined
    } else if (message.kind === 'alarm') {
      const { site, machine } = message.address
      this.machine(site, machine).alarms.set(alarmKey(message.address), message.payload)
    }
  }

  clear(address: TopicAddress): void {
    if (address.kind !== 'alarm') return
    this.machines.get(`${address.site}/${address.machine}`)?.alarms.delete(alarmKey(address))
  }

  /** `open` names the machine as `site/machine`, `show` one of its points; the first when empty. */
  show({ open, show }: Look): { rows: (TrendPart | DecisionLine)[]; parts: MachineParts } {
    const [site = '', machine = ''] = open.split('/')
    const store = this.machines.get(open)
    const points = [...(store?.points.values() ?? [])].sort((a, b) => nameOf(a).localeCompare(nameOf(b)))
    const point = points.find(each => nameOf(each) === show) ?? points[0]
    return {
      rows: point ? [...point.trend.parts, ...point.decisions.map(({ line }) => line)] : [],
      parts: {
        site,
        machine,
        points: points.map(nameOf),
        point: point ? nameOf(point) : null,
        window: point ? windowOf(point) : null,
        alarms: [...(store?.alarms.values() ?? [])].filter(isStanding).sort(byUrgency).map(lineOf),
        zones: this.zonesOf(site, machine),
        incomplete: this.asked.get(open)?.problem ?? null,
      },
    }
  }

  /** Whether a store could say more of a machine, named as `site/machine`, than the view knows. */
  lacksPast(key: string): boolean {
    const asked = this.asked.get(key)
    return /^[^/]+\/[^/]+$/.test(key) && (asked === undefined || asked.problem !== undefined)
  }

  /** The points of a machine that were heard of, and since when (ms since 1970) their trends go back. */
  heard(key: string): { device: string; point: string; since?: number }[] {
    const points = [...(this.machines.get(key)?.points.values() ?? [])]
    return points.map(({ device, point, trend }) => ({ device, point, since: trend.since }))
  }

  /** What a store says of the past of a machine, or why it does not. */
  remember(key: string, past: readonly PastPoint[] | { problem: string }): void {
    if ('problem' in past) {
      this.asked.set(key, past)
      return
    }
    this.asked.set(key, {})
    const [site = '', machine = ''] = key.split('/')
    for (const { device, point, windows, summaries } of past) {
      const store = this.point({ site, device, point }, machine)
      const originals = windows.filter(({ revises }) => revises === undefined)
      store.trend.remember([...originals, ...summaries])
      store.decisions = withPast(store.decisions, windows)
    }
  }

  private infer(store: PointStore, inference: Inference): void {
    const { trend, decisions, escalation } = store
    const { id, revises, server } = inference
    if (server && [id, revises].includes(escalation?.id)) store.answer = server
    const decision = { window: revises ?? id, line: lineOfInference(inference) }
    const revised = revises === undefined ? -1 : decisions.findIndex(({ window }) => window === revises)
    if (revised >= 0) {
      decisions[revised] = decision
      return
    }
    if (trend.has(decision.window) || decisions.some(({ line }) => line.id === id)) return
    decisions.unshift(decision)
    if (decisions.length > maxDecisions) decisions.pop()
    trend.add({ id: decision.window, time: Date.parse(inference.at), features: inference.features })
  }

  private point({ site, device, point }: { site: string; device: string; point: string }, machine: string): PointStore {
    return this.machine(site, machine).points.reach(`${device}/${point}`, () => ({
      device,
      point,
      trend: new Trend(`${device} / ${point}`),
      decisions: [],
    }))
  }

  private machine(site: string, machine: string): MachineStore {
    return this.machines.reach(`${site}/${machine}`, () => ({
      points: new RecentMap<PointStore>({ limit: maxPoints, isHeld: () => false }),
      alarms: new Map(),
    }))
  }
}

const nameOf = ({ device, point }: { device: string; point: string }): string => `${device} / ${point}`

function lineOfInference(inference: Inference): DecisionLine {
  const { id, at, label, confidence, outcome, reason, numbers, latencyMs, local, server } = inference
  return {
    key: id,
    id,
    at,
    label,
    confidence,
    outcome,
    reason,
    numbers,
    latencyMs,
    local: { label: local.label, confidence: local.confidence },
    ...(server && { server: { label: server.label, confidence: server.confidence } }),
  }
}

const decisionOfRow = ({ time, id, revises, ...row }: InferenceRow): Decision => ({
  window: revises ?? id,
  line: {
    key: id,
    id,
    at: new Date(time).toISOString(),
    label: row.label,
    confidence: row.confidence,
    outcome: row.outcome,
    reason: row.reason,
    numbers: row.numbers,
    latencyMs: row.latencyMs,
    local: { label: row.local.label, confidence: row.local.confidence },
    ...(row.server && { server: { label: row.server.label, confidence: row.server.confidence } }),
  },
})

/** Decisions together with those of the past, each window once, as it was decided last. Newest first. */
function withPast(decisions: readonly Decision[], past: readonly InferenceRow[]): Decision[] {
  const revisionsLast = past.toSorted((a, b) => Number(a.revises !== undefined) - Number(b.revises !== undefined))
  const byWindow = new Map(
    [...revisionsLast.map(decisionOfRow), ...decisions].map(decision => [decision.window, decision]),
  )
  return [...byWindow.values()].sort((a, b) => Date.parse(b.line.at) - Date.parse(a.line.at)).slice(0, maxDecisions)
}

/** Images have no spectrum. */
function windowOf(store: PointStore): SeenWindow | null {
  const { escalation, answer } = store
  if (escalation?.window.shape.length !== 1) return null
  const { id, at, reason, local, shaftHz, bearing } = escalation
  store.portrait ??= portraitOf(
    { ...decodeWindow(escalation.window), ...(shaftHz !== undefined && { shaftHz }) },
    bearing,
  )
  return {
    id,
    at,
    reason,
    local: { label: local.label, confidence: local.confidence },
    ...(answer && { server: { label: answer.label, confidence: answer.confidence } }),
    ...store.portrait,
  }
}
