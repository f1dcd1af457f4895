import { type Portrait, portraitOf } from '@faultline/inference'
import {
  type Alarm,
  decodeWindow,
  type Escalation,
  type Inference,
  type Message,
  type TopicAddress,
} from '@faultline/protocol'
import { RecentMap } from '../recent-map.ts'
import { type AlarmLine, alarmKey, byUrgency, isStanding, lineOf } from './alarm-line.ts'
import type { Look } from './look.ts'
import { Trend, type TrendPart } from './trend.ts'

/** Decisions in the list, the newest. */
const keptDecisions = 40
/** Machines and points that are kept; those heard of last stay. */
const mostMachines = 2_000
const mostPoints = 64

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
export type DecisionLine = Pick<
  Inference,
  'id' | 'at' | 'label' | 'confidence' | 'outcome' | 'reason' | 'numbers' | 'latencyMs'
> & {
  key: string
  local: { label: string; confidence: number | null }
  server?: { label: string; confidence: number }
}

export interface MachineParts extends Record<string, unknown> {
  site: string
  machine: string
  /** `device / point` of each, in order, and which of them the rest is about; null before the first was heard. */
  points: string[]
  point: string | null
  /** The newest that a device escalated; null before the first. */
  window: SeenWindow | null
  alarms: AlarmLine[]
  zones: Zones
}

interface PointStore {
  name: string
  trend: Trend
  /** Newest first. */
  decisions: Inference[]
  escalation?: Escalation
  /** Made when somebody looks, once for each escalation. */
  portrait?: Portrait
  /** What a server said of it. */
  answer?: Inference['server']
}

interface MachineStore {
  points: RecentMap<PointStore>
  alarms: Map<string, Alarm>
}

/** What is kept of each machine for whoever looks at it alone. Pure: no clock, no timers, no MQTT. */
export class MachineView {
  private readonly zonesOf: (site: string, machine: string) => Zones
  private readonly machines = new RecentMap<MachineStore>({ limit: mostMachines, isHeld: () => false })

  constructor(zonesOf: (site: string, machine: string) => Zones) {
    this.zonesOf = zonesOf
  }

  apply(message: Message): void {
    if (message.kind === 'inference') {
      this.infer(this.point(message.address, message.payload.machine), message.payload)
    } else if (message.kind === 'summary') {
      const { to, features, machine } = message.payload
      const means = Object.fromEntries(Object.entries(features).map(([name, { mean }]) => [name, mean]))
      this.point(message.address, machine).trend.add(to, means)
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
    const points = [...(store?.points.values() ?? [])].sort((a, b) => a.name.localeCompare(b.name))
    const point = points.find(({ name }) => name === show) ?? points[0]
    return {
      rows: point ? [...point.trend.parts, ...point.decisions.map(decisionLine)] : [],
      parts: {
        site,
        machine,
        points: points.map(({ name }) => name),
        point: point?.name ?? null,
        window: point ? windowOf(point) : null,
        alarms: [...(store?.alarms.values() ?? [])].filter(isStanding).sort(byUrgency).map(lineOf),
        zones: this.zonesOf(site, machine),
      },
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
    if (decisions.length > keptDecisions) decisions.pop()
    trend.add(inference.at, inference.features)
  }

  private point({ site, device, point }: { site: string; device: string; point: string }, machine: string): PointStore {
    return this.machine(site, machine).points.reach(`${device}/${point}`, () => ({
      name: `${device} / ${point}`,
      trend: new Trend(`${device} / ${point}`),
      decisions: [],
    }))
  }

  private machine(site: string, machine: string): MachineStore {
    return this.machines.reach(`${site}/${machine}`, () => ({
      points: new RecentMap<PointStore>({ limit: mostPoints, isHeld: () => false }),
      alarms: new Map(),
    }))
  }
}

function decisionLine(inference: Inference): DecisionLine {
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
