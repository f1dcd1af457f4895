import type { Alarm, Health, Message, PriceList, TopicAddress } from '@faultline/protocol'
import { isActive, needsAttention } from '../alarms/lifecycle.ts'
import { RecentMap } from '../recent-map.ts'
import { type AlarmLine, byUrgency, isStanding, lineOf } from './alarm-line.ts'
import { compareTexts, type Listing, type Look, pageOf } from './look.ts'
import { MachineRecord } from './machine-record.ts'
import { type MachineStatus, machineStatuses } from './machine-status.ts'
import { type AuditBound, auditBound, type Traffic, trafficOf } from './traffic.ts'

export interface MachineRow {
  key: string
  site: string
  machine: string
  status: MachineStatus
  /** Faults with an active alarm. */
  faults: string[]
  label: string | null
  confidence: number | null
  decidedBy: string | null
  since: string | null
  source: string | null
  windows: number
  /** Share of the windows seen that went up to a server; null before the first. */
  escalatedShare: number | null
  /** Null before the first answered audit of a window that was accepted as normal. */
  audits: AuditBound | null
  /** See `MachineRecord.history`. */
  history: string
}

type Counted = { known: number; online: number }
type ByStatus = Record<MachineStatus, number>

export interface SiteRow extends Traffic {
  site: string
  machines: number
  byStatus: ByStatus
  devices: Counted
}

export interface FleetTotals extends Traffic {
  machines: number
  byStatus: ByStatus
  alarms: number
  unacknowledged: number
  devices: Counted
  servers: Counted
  audits: AuditBound | null
}

export type FleetParts = {
  totals: FleetTotals
  sites: SiteRow[]
  /** The most urgent. */
  alarms: AlarmLine[]
  /** Alarms that stand, shown or not. */
  standing: number
  /** Machines that fit the look, and which of them the rows begin with. */
  matching: number
  from: number
}

/** Alarms in full at the top of the page; the page of alarms has the others. */
const shownAlarms = 6
/** Machines are named in payloads; no device may fill the memory with them. */
const maxMachines = 10_000

interface DeviceRecord {
  site: string
  online: boolean
  health?: Health
  prices?: PriceList | null
}

/** What a machine is found and ordered by; the rest of its row is made for those that are shown. */
interface Found {
  record: MachineRecord
  status: MachineStatus
  faults: string[]
}

type Summed = Pick<FleetParts, 'totals' | 'sites' | 'alarms' | 'standing'> & { found: Found[] }

/** Sums the fleet's messages up into what a page shows. Pure: no clock, no timers, no MQTT. */
export class FleetView {
  private readonly normal: string
  private readonly machines = new RecentMap<MachineRecord>({
    limit: maxMachines,
    isHeld: ({ alarms }) => [...alarms.values()].some(isStanding),
  })
  private readonly devices = new Map<string, DeviceRecord>()
  private readonly servers = new Map<string, boolean>()
  /** The machines by name; comparing names takes too long to do it for every update. */
  private ordered: MachineRecord[] | undefined
  /** What is the same for everybody who looks, until the next message. */
  private summed: Summed | undefined

  constructor(normal: string) {
    this.normal = normal
  }

  apply(message: Message): void {
    this.summed = undefined
    // The page shows what is now.
    if ((message.kind === 'inference' || message.kind === 'summary') && message.payload.backlog) return
    if (message.kind === 'inference') {
      const { site, device, point } = message.address
      this.device(site, device)
      const machine = this.machine(site, message.payload.machine)
      machine.devices.add(device)
      machine.observe(device, point, message.payload)
    } else if (message.kind === 'summary') {
      this.machine(message.address.site, message.payload.machine).summarise(message.payload)
    } else if (message.kind === 'state') {
      const { site, device } = message.address
      const record = this.device(site, device)
      record.online = message.payload.online
      for (const { machine } of message.payload.online ? message.payload.points : []) {
        this.machine(site, machine).devices.add(device)
      }
    } else if (message.kind === 'health') {
      this.device(message.address.site, message.address.device).health = message.payload
    } else if (message.kind === 'config-reported') {
      this.device(message.address.site, message.address.device).prices = message.payload.config.prices
    } else if (message.kind === 'server-state') {
      this.servers.set(message.address.server, message.payload.online)
    } else if (message.kind === 'alarm') {
      const { site, machine, fault } = message.address
      this.machine(site, machine).alarms.set(fault, message.payload)
    }
  }

  /** A retained message was cleared: what it said is gone. */
  clear(address: TopicAddress): void {
    this.summed = undefined
    if (address.kind === 'state') {
      this.devices.delete(`${address.site}/${address.device}`)
    } else if (address.kind === 'server-state') {
      this.servers.delete(address.server)
    } else if (address.kind === 'alarm') {
      const key = `${address.site}/${address.machine}`
      const machine = this.machines.get(key)
      machine?.alarms.delete(address.fault)
      if (!machine?.isBlank) return
      this.machines.delete(key)
      this.ordered = undefined
    }
  }

  show(look: Look): { rows: MachineRow[]; parts: FleetParts } {
    this.summed ??= this.sum()
    const { found, ...summed } = this.summed
    const { items, from, matching } = pageOf(found, look, listing)
    return { rows: items.map(item => this.row(item)), parts: { ...summed, matching, from } }
  }

  private sum(): Summed {
    const records = this.inOrder()
    const found = records.map(record => this.found(record))
    const alarms = records.flatMap(record => [...record.alarms.values()].filter(isStanding)).sort(byUrgency)
    return {
      found,
      totals: this.totals(found, alarms),
      sites: this.sites(found),
      alarms: alarms.slice(0, shownAlarms).map(lineOf),
      standing: alarms.length,
    }
  }

  private inOrder(): readonly MachineRecord[] {
    this.ordered ??= [...this.machines.values()].sort(
      (a, b) => compareTexts(a.site, b.site) || compareTexts(a.machine, b.machine),
    )
    return this.ordered
  }

  private totals(found: readonly Found[], alarms: readonly Alarm[]): FleetTotals {
    const devices = [...this.devices.values()]
    return {
      machines: found.length,
      byStatus: byStatusOf(found),
      alarms: alarms.filter(isActive).length,
      unacknowledged: alarms.filter(needsAttention).length,
      devices: countedOf(devices),
      servers: countedOf([...this.servers.values()].map(online => ({ online }))),
      audits: auditBound(devices.flatMap(({ health }) => health?.audited ?? [])),
      ...trafficOf(devices),
    }
  }

  private sites(found: readonly Found[]): SiteRow[] {
    const machines = grouped(found, ({ record }) => record.site)
    const devices = grouped([...this.devices.values()], ({ site }) => site)
    return [...new Set([...machines.keys(), ...devices.keys()])].sort(compareTexts).map(site => ({
      site,
      machines: machines.get(site)?.length ?? 0,
      byStatus: byStatusOf(machines.get(site) ?? []),
      devices: countedOf(devices.get(site) ?? []),
      ...trafficOf(devices.get(site) ?? []),
    }))
  }

  private found(record: MachineRecord): Found {
    const active = [...record.alarms.values()].filter(isActive).sort(byUrgency)
    const faults = active.map(alarm => alarm.fault)
    return { record, status: this.statusOf(record, faults), faults }
  }

  private row({ record, status, faults }: Found): MachineRow {
    const { site, machine, windows, escalatedShare, history, spokesman } = record
    return {
      key: keyOf(record),
      site,
      machine,
      status,
      faults,
      label: spokesman?.label ?? null,
      confidence: spokesman?.confidence ?? null,
      decidedBy: spokesman?.decidedBy ?? null,
      since: spokesman?.since ?? null,
      source: spokesman ? `${spokesman.device}/${spokesman.point}` : null,
      windows,
      escalatedShare,
      audits: this.auditsOf(record),
      history,
    }
  }

  /** Of all devices that watch the machine. */
  private auditsOf({ site, machine, devices }: MachineRecord): AuditBound | null {
    return auditBound(
      [...devices].flatMap(
        device => this.devices.get(`${site}/${device}`)?.health?.audited?.find(each => each.machine === machine) ?? [],
      ),
    )
  }

  private statusOf({ site, devices, spokesman }: MachineRecord, faults: readonly string[]): MachineStatus {
    if (faults.length > 0) return 'alarm'
    if (![...devices].some(device => this.devices.get(`${site}/${device}`)?.online)) return 'offline'
    if (!spokesman || spokesman.confidence === null) return 'unknown'
    return spokesman.fault ? 'suspect' : 'normal'
  }

  private machine(site: string, machine: string): MachineRecord {
    return this.machines.reach(`${site}/${machine}`, () => {
      this.ordered = undefined
      return new MachineRecord(site, machine, this.normal)
    })
  }

  private device(site: string, device: string): DeviceRecord {
    const key = `${site}/${device}`
    const record = this.devices.get(key) ?? { site, online: false }
    this.devices.set(key, record)
    return record
  }
}

const keyOf = ({ site, machine }: MachineRecord): string => `${site}/${machine}`

function grouped<T>(items: readonly T[], nameOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const group = groups.get(nameOf(item))
    if (group) group.push(item)
    else groups.set(nameOf(item), [item])
  }
  return groups
}

const countedOf = (all: readonly { online: boolean }[]): Counted => ({
  known: all.length,
  online: all.filter(({ online }) => online).length,
})

function byStatusOf(found: readonly Found[]): ByStatus {
  const counts: ByStatus = { alarm: 0, suspect: 0, unknown: 0, offline: 0, normal: 0 }
  for (const { status } of found) counts[status]++
  return counts
}

const rank = ({ status }: Found): number => machineStatuses.indexOf(status)

const listing: Listing<Found> = {
  text: ({ record, faults }) => `${keyOf(record)} ${record.spokesman?.label ?? ''} ${faults.join(' ')}`,
  site: ({ record }) => record.site,
  shows: ({ status }, group) => status === group,
  columns: {
    machine: ({ record }) => record.machine,
    status: rank,
    label: ({ record }) => record.spokesman?.label,
    since: ({ record }) => record.spokesman?.since,
    escalated: ({ record }) => record.escalatedShare,
  },
  order: (a, b) =>
    rank(a) - rank(b) || compareTexts(a.record.site, b.record.site) || compareTexts(a.record.machine, b.record.machine),
}
