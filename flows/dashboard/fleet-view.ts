import { type Alarm, type Health, type Message, missedAtMost, type TopicAddress } from '@faultline/protocol'
import { isActive, needsAttention } from '../alarms/lifecycle.ts'
import { RecentMap } from '../recent-map.ts'
import { MachineRecord } from './machine-record.ts'

export type MachineStatus = 'alarm' | 'suspect' | 'normal' | 'unknown' | 'offline'

export interface MachineRow {
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
  /**
   * What audits found among the windows accepted as normal, and the share of these that hides a fault, at most, at 95 %;
   * null before the first answered one.
   */
  audits: { silent: number; missed: number; missedAtMost: number } | null
  /** See `MachineRecord.history`. */
  history: string
}

export interface FleetSnapshot {
  at: string
  totals: {
    machines: number
    alarms: number
    unacknowledged: number
    devices: { known: number; online: number }
    servers: { known: number; online: number }
    windows: number
    escalatedShare: number | null
    /** What the devices sent, and what they would have sent had they escalated every window. */
    bytes: { sent: number; ifAllEscalated: number | null }
    roundTripMs: number | null
  }
  machines: MachineRow[]
  alarms: Alarm[]
}

/** A page does not get longer than this; the totals count everything. */
const longestList = 200
/** Machines are named in payloads; no device may fill the memory with them. */
const maxMachines = 10_000
const statusOrder: readonly MachineStatus[] = ['alarm', 'suspect', 'unknown', 'offline', 'normal']

interface DeviceRecord {
  online: boolean
  health?: Health
}

/** Sums the fleet's messages up into what a page shows. Pure: no clock, no timers, no MQTT. */
export class FleetView {
  private readonly normal: string
  private readonly machines = new RecentMap<MachineRecord>({
    limit: maxMachines,
    isHeld: ({ alarms }) => [...alarms.values()].some(isShown),
  })
  private readonly devices = new Map<string, DeviceRecord>()
  private readonly servers = new Map<string, boolean>()

  constructor(normal: string) {
    this.normal = normal
  }

  apply(message: Message): void {
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
    } else if (message.kind === 'server-state') {
      this.servers.set(message.address.server, message.payload.online)
    } else if (message.kind === 'alarm') {
      const { site, machine, fault } = message.address
      this.machine(site, machine).alarms.set(fault, message.payload)
    }
  }

  /** A retained message was cleared: what it said is gone. */
  clear(address: TopicAddress): void {
    if (address.kind === 'state') {
      this.devices.delete(`${address.site}/${address.device}`)
    } else if (address.kind === 'server-state') {
      this.servers.delete(address.server)
    } else if (address.kind === 'alarm') {
      const key = `${address.site}/${address.machine}`
      const machine = this.machines.get(key)
      machine?.alarms.delete(address.fault)
      if (machine?.isBlank) this.machines.delete(key)
    }
  }

  snapshot(now: Date): FleetSnapshot {
    const records = [...this.machines.values()]
    const alarms = records.flatMap(record => [...record.alarms.values()].filter(isShown)).sort(byUrgency)
    const machines = records.map(record => this.row(record))
    return {
      at: now.toISOString(),
      totals: {
        machines: machines.length,
        alarms: alarms.filter(isActive).length,
        unacknowledged: alarms.filter(needsAttention).length,
        devices: { known: this.devices.size, online: [...this.devices.values()].filter(d => d.online).length },
        servers: { known: this.servers.size, online: [...this.servers.values()].filter(Boolean).length },
        ...this.traffic(),
      },
      machines: machines.sort(bySeverity).slice(0, longestList),
      alarms: alarms.slice(0, longestList),
    }
  }

  private row(record: MachineRecord): MachineRow {
    const { site, machine, windows, escalated, history, spokesman } = record
    const active = [...record.alarms.values()].filter(isActive).sort(byUrgency)
    const faults = active.map(alarm => alarm.fault)
    return {
      site,
      machine,
      status: this.statusOf(record, faults),
      faults,
      label: spokesman?.label ?? null,
      confidence: spokesman?.confidence ?? null,
      decidedBy: spokesman?.decidedBy ?? null,
      since: spokesman?.since ?? null,
      source: spokesman ? `${spokesman.device}/${spokesman.point}` : null,
      windows,
      escalatedShare: windows > 0 ? escalated / windows : null,
      audits: this.auditsOf(record),
      history,
    }
  }

  /** Of all devices that watch the machine. */
  private auditsOf({ site, machine, devices }: MachineRecord): MachineRow['audits'] {
    const accounts = [...devices].flatMap(
      device => this.devices.get(`${site}/${device}`)?.health?.audited?.find(each => each.machine === machine) ?? [],
    )
    const silent = accounts.reduce((sum, account) => sum + account.silent, 0)
    const missed = accounts.reduce((sum, account) => sum + account.missed, 0)
    return silent > 0 ? { silent, missed, missedAtMost: missedAtMost({ silent, missed }) } : null
  }

  private statusOf({ site, devices, spokesman }: MachineRecord, faults: readonly string[]): MachineStatus {
    if (faults.length > 0) return 'alarm'
    if (![...devices].some(device => this.devices.get(`${site}/${device}`)?.online)) return 'offline'
    if (!spokesman || spokesman.confidence === null) return 'unknown'
    return spokesman.fault ? 'suspect' : 'normal'
  }

  /** From the devices' own counters, which include what was seen before this page was opened. */
  private traffic(): Pick<FleetSnapshot['totals'], 'windows' | 'escalatedShare' | 'bytes' | 'roundTripMs'> {
    const healths = [...this.devices.values()].flatMap(({ health }) => health ?? [])
    const sum = (read: (health: Health) => number) => healths.reduce((total, health) => total + read(health), 0)
    const windows = sum(health => health.counters.windows)
    const escalated = sum(({ counters: c }) => c.answered + c.late + c.rejected + c.pending)
    const sent = sum(health => health.bytes.sent)
    const escalations = sum(health => health.bytes.escalations)
    const trips = healths.flatMap(({ roundTripMs }) => (roundTripMs?.samples ? roundTripMs.median : []))
    return {
      windows,
      escalatedShare: windows > 0 ? escalated / windows : null,
      bytes: {
        sent,
        ifAllEscalated: escalated > 0 ? Math.round(sent - escalations + (escalations / escalated) * windows) : null,
      },
      roundTripMs: trips.sort((a, b) => a - b)[Math.floor(trips.length / 2)] ?? null,
    }
  }

  private machine(site: string, machine: string): MachineRecord {
    return this.machines.reach(`${site}/${machine}`, () => new MachineRecord(site, machine, this.normal))
  }

  private device(site: string, device: string): DeviceRecord {
    const key = `${site}/${device}`
    const record = this.devices.get(key) ?? { online: false }
    this.devices.set(key, record)
    return record
  }
}

/** An alarm that is over and has been seen is no news. */
const isShown = (alarm: Alarm): boolean => alarm.state !== 'normal'

const urgency = (alarm: Alarm): number => (isActive(alarm) ? 2 : 0) + (needsAttention(alarm) ? 1 : 0)

const byUrgency = (a: Alarm, b: Alarm): number => urgency(b) - urgency(a) || Date.parse(b.since) - Date.parse(a.since)

const bySeverity = (a: MachineRow, b: MachineRow): number =>
  statusOrder.indexOf(a.status) - statusOrder.indexOf(b.status) ||
  a.site.localeCompare(b.site, 'en', { numeric: true }) ||
  a.machine.localeCompare(b.machine, 'en', { numeric: true })
