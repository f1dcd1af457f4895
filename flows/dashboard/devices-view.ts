import type {
  DeviceState,
  Health,
  Message,
  RolloutServiceState,
  RolloutStatus,
  ServerState,
  TopicAddress,
  UpdateOffer,
  UpdateStatus,
} from '@faultline/protocol'
import { compareTexts, type Listing, type Look, pageOf } from './look.ts'
import { type Rollout, rolloutsOf, type UpdateRow, updateOf } from './rollouts.ts'

/** What somebody should see to, most urgent first. */
export const deviceProblems = [
  'offline',
  'silent',
  'sensor',
  'servers',
  'certificate',
  'update',
  'clock',
  'spool',
  'dropped',
] as const
export type DeviceProblem = (typeof deviceProblems)[number]

export interface DeviceRow {
  key: string
  site: string
  device: string
  /** Null where only its reports were heard. */
  online: boolean | null
  problems: DeviceProblem[]
  /** By the device's own clock. */
  heardAt: string | null
  clockSynchronised: boolean | null
  agentVersion: string | null
  /** Name, version and engine. */
  models: string[]
  certificateUntil: string | null
  queues: Health['queues'] | null
  roundTripMs: Health['roundTripMs'] | null
  /** Of the windows sent lately: share without a verdict in time. */
  lostShare: number | null
  memoryBytes: number | null
  temperatureC: number | null
  update: UpdateRow | null
}

export interface OpenDevice {
  row: DeviceRow
  boot: number | null
  enginesRejected: { engine: string; reason: string }[]
  points: Extract<DeviceState, { online: true }>['points']
  sensors: NonNullable<Health['points']>
  health: Health | null
  update: UpdateStatus | null
}

export interface ServerRow {
  server: string
  online: boolean
  agentVersion: string | null
  models: string[]
  load: Extract<ServerState, { online: true }>['load'] | null
}

export type DevicesParts = {
  counts: Readonly<Record<'all' | 'online' | 'offline' | 'attention', number>>
  sites: string[]
  servers: ServerRow[]
  rollouts: Rollout[]
  /** What can be rolled out; null while no rollout service is connected. */
  artifacts: Artifact[] | null
  open: OpenDevice | null
  /** Devices that fit the look, and which of them the rows begin with. */
  matching: number
  from: number
}

type Artifact = Extract<RolloutServiceState, { online: true }>['artifacts'][number]

interface DeviceRecord {
  site: string
  device: string
  state?: DeviceState
  /** The last that said more than that the device is away. */
  known?: Extract<DeviceState, { online: true }>
  health?: Health
  offer?: UpdateOffer
  status?: UpdateStatus
}

const dayMs = 86_400_000
/** Certificates are renewed long before; one that ends so soon was not. */
const certificateDays = 14
/** A device that is connected and has said nothing of its health for so long hangs, or its link is too slow. */
const silentMs = 15 * 60_000
/** Messages that wait while a device is connected: more than a report on its way. */
const spooled = 100

/** Devices, servers and rollouts. Pure but for the time, which says what has ended. */
export class DevicesView {
  private readonly now: () => number
  private readonly devices = new Map<string, DeviceRecord>()
  private readonly servers = new Map<string, ServerState>()
  private readonly rollouts = new Map<string, RolloutStatus>()
  private readonly services = new Map<string, RolloutServiceState>()

  constructor(now: () => number = Date.now) {
    this.now = now
  }

  apply({ kind, address, payload }: Message): void {
    if (kind === 'state') {
      const record = this.device(address)
      record.state = payload
      if (payload.online) record.known = payload
    } else if (kind === 'health') this.device(address).health = payload
    else if (kind === 'update-offer') this.device(address).offer = payload
    else if (kind === 'update-status') this.device(address).status = payload
    else if (kind === 'server-state') this.servers.set(address.server, payload)
    else if (kind === 'rollout') this.rollouts.set(address.rollout, payload)
    else if (kind === 'rollout-service') this.services.set(address.service, payload)
  }

  clear(address: TopicAddress): void {
    if (address.kind === 'state') this.devices.delete(`${address.site}/${address.device}`)
    else if (address.kind === 'server-state') this.servers.delete(address.server)
    else if (address.kind === 'rollout') this.rollouts.delete(address.rollout)
    else if (address.kind === 'rollout-service') this.services.delete(address.service)
    else if (address.kind === 'update-offer') delete this.devices.get(`${address.site}/${address.device}`)?.offer
    else if (address.kind === 'update-status') delete this.devices.get(`${address.site}/${address.device}`)?.status
  }

  /** What the rollout service can roll out; null while none is connected. */
  get artifacts(): Artifact[] | null {
    for (const state of this.services.values()) if (state.online) return state.artifacts
    return null
  }

  show(look: Look): { rows: DeviceRow[]; parts: DevicesParts } {
    const all = [...this.devices.values()].map(record => this.row(record)).sort(byName)
    const { items, from, matching } = pageOf(all, look, listing)
    const count = (group: string) => all.filter(row => listing.shows(row, group)).length
    return {
      rows: items,
      parts: {
        counts: { all: all.length, online: count('online'), offline: count('offline'), attention: count('attention') },
        sites: [...new Set(all.map(({ site }) => site))],
        servers: [...this.servers].map(serverRow).sort((a, b) => compareTexts(a.server, b.server)),
        rollouts: rolloutsOf([...this.devices.values()], this.rollouts),
        artifacts: this.artifacts,
        open: this.open(look.open),
        matching,
        from,
      },
    }
  }

  private open(key: string): OpenDevice | null {
    const record = this.devices.get(key)
    if (!record) return null
    const { known, health, status } = record
    return {
      row: this.row(record),
      boot: record.state?.boot ?? null,
      enginesRejected: known?.models.flatMap(({ enginesRejected }) => enginesRejected) ?? [],
      points: known?.points ?? [],
      sensors: health?.points ?? [],
      health: health ?? null,
      update: status ?? null,
    }
  }

  private row(record: DeviceRecord): DeviceRow {
    const { site, device, state, known, health } = record
    return {
      key: `${site}/${device}`,
      site,
      device,
      online: state?.online ?? null,
      problems: this.problemsOf(record),
      heardAt:
        [state?.at, health?.at]
          .filter(at => at !== undefined)
          .sort()
          .at(-1) ?? null,
      clockSynchronised: known?.clockSynchronised ?? null,
      agentVersion: known?.agentVersion ?? null,
      models: known?.models.map(modelText) ?? [],
      certificateUntil: known?.certificateUntil ?? null,
      queues: health?.queues ?? null,
      roundTripMs: health?.roundTripMs ?? null,
      lostShare: health?.servers ? 1 - health.servers.answeredShare : null,
      memoryBytes: health?.memoryBytes ?? null,
      temperatureC: health?.temperatureC ?? null,
      update: updateOf(record),
    }
  }

  private problemsOf({ state, known, health, status }: DeviceRecord): DeviceProblem[] {
    const now = this.now()
    const isOnline = state?.online === true
    const until = known?.certificateUntil
    const found: Record<DeviceProblem, boolean> = {
      offline: state?.online === false,
      silent: isOnline && health !== undefined && now - Date.parse(health.at) > silentMs,
      sensor: (health?.points?.length ?? 0) > 0,
      servers: health?.servers?.reachable === false,
      certificate: until !== undefined && Date.parse(until) - now < certificateDays * dayMs,
      update: status?.state === 'failed' || status?.state === 'rolled-back',
      clock: isOnline && known?.clockSynchronised === false,
      spool: isOnline && (health?.queues.spool ?? 0) > spooled,
      dropped: (health?.queues.dropped ?? 0) > 0,
    }
    return deviceProblems.filter(problem => found[problem])
  }

  private device({ site, device }: { site: string; device: string }): DeviceRecord {
    const record = this.devices.get(`${site}/${device}`) ?? { site, device }
    this.devices.set(`${site}/${device}`, record)
    return record
  }
}

const modelText = ({ name, version, engine }: { name: string; version: string; engine: string }): string =>
  `${name} ${version} on ${engine}`

function serverRow([server, state]: [string, ServerState]): ServerRow {
  if (!state.online) return { server, online: false, agentVersion: null, models: [], load: null }
  const models = state.models.map(model => `${modelText(model)}${model.shadow ? ', shadow' : ''}`)
  return { server, online: true, agentVersion: state.agentVersion, models, load: state.load }
}

const byName = (a: DeviceRow, b: DeviceRow): number => compareTexts(a.site, b.site) || compareTexts(a.device, b.device)

const urgency = ({ problems: [worst] }: DeviceRow): number =>
  worst === undefined ? deviceProblems.length : deviceProblems.indexOf(worst)

const listing: Listing<DeviceRow> = {
  text: ({ key, agentVersion, models, problems }) => [key, agentVersion ?? '', ...models, ...problems].join(' '),
  site: ({ site }) => site,
  shows: ({ online, problems }, group) => {
    if (group === 'attention') return problems.length > 0
    return group === 'online' ? online === true : group === 'offline' ? online === false : true
  },
  columns: {
    device: ({ device }) => device,
    heard: ({ heardAt }) => heardAt,
    version: ({ agentVersion }) => agentVersion,
    queue: ({ queues }) => queues?.spool,
    trip: ({ roundTripMs }) => roundTripMs?.median,
    memory: ({ memoryBytes }) => memoryBytes,
    certificate: ({ certificateUntil }) => certificateUntil,
    update: ({ update }) => update?.state,
  },
  // Those of one urgency stay as they come, by name.
  order: (a, b) => urgency(a) - urgency(b),
}
