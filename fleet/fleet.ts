import { once } from 'node:events'
import { join } from 'node:path'
import { Broker } from '@faultline/broker'
import { createSource, DeviceAgent, type SourceConfig } from '@faultline/device-agent'
import { adminName, FlowRunner, keptSecret } from '@faultline/flows'
import { type LoadedClassifier, openDataset, skf6205 } from '@faultline/inference'
import {
  FaultlineError,
  type Identity,
  type Inference,
  identityOf,
  toFaultlineError,
  topicFilter,
} from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import { type Logger, MqttSession, type Service, ServiceGroup } from '@faultline/runtime'
import { InProcessHost, ServerAgent } from '@faultline/server-agent'
import { createStore, Recorder, type StoreSettings, type TelemetryStore } from '@faultline/telemetry'
import { FleetIdentities, fleetIdentities } from './identities.ts'
import { type Machine, recordedMachines, simulatedMachines } from './machines.ts'
import { loadShippedModels, localBundle } from './models.ts'
import type { FleetOptions } from './options.ts'
import { type FleetSummary, Scoreboard } from './scoreboard.ts'
import { addCounters, type FleetStatus, type MachineStatus, noWindows } from './status.ts'

/** Everything runs at one site. */
const site = 'local'
const deadlineMs = 2_000
const healthIntervalS = 5
/** How long a broker that is there already may take to let the fleet in. */
const reachMs = 10_000

interface Member {
  machine: Machine
  agent: DeviceAgent
  lastLabel?: string
}

/** The whole product in one process on loopback: what `npm start` runs. */
export class Fleet implements Service {
  private readonly options: FleetOptions
  private readonly logger: Logger
  /** In the order they were started. */
  private readonly services: Service[] = []
  private members: Member[] = []
  private scoreboard = new Scoreboard([])
  private secrets: ReadonlyMap<string, string> = new Map()
  private broker: Broker | undefined
  private flows: FlowRunner | undefined
  private adminPassword = ''
  private startedAt = 0
  private stoppedAt: number | undefined

  constructor(options: FleetOptions, logger: Logger) {
    this.options = options
    this.logger = logger
  }

  async start(): Promise<void> {
    const { options, logger } = this
    const store = createStore(this.storeSettings, { logger })
    // What can fail for a reason of the user's comes first, and what is slow runs side by side.
    const registry = new Registry(join(options.directory, 'registry.db'))
    await this.add(registry)
    await this.startBroker(registry)
    await this.add(store)
    const loading = loadShippedModels()
    loading.catch(() => {}) // Reported below, once the flows are up and can be stopped.
    await this.startFlows(registry)
    const models = await loading
    await this.add({ start: async () => {}, stop: () => models.local.classifier.dispose() })
    await this.add({ start: async () => {}, stop: () => models.server.classifier.dispose() })
    const machines = await this.chooseMachines(models.local)
    const devices = machines.map(({ device }) => identityOf('device', site, device))
    this.secrets = await this.enrol(registry, devices)
    this.scoreboard = new Scoreboard(machines, Date.now())
    await this.startServices(store, models.server)
    this.members = await Promise.all(machines.map((machine, i) => this.createMember(machine, i, models.local)))
    this.startedAt = performance.now()
    await this.add(new ServiceGroup(this.members.map(({ agent }) => agent)))
    logger.info({ machines: machines.length }, 'fleet running')
  }

  /** Agents first, so that every window has ended and everybody still hears of it. */
  async stop(): Promise<void> {
    this.stoppedAt ??= performance.now()
    const failures: unknown[] = []
    for (const service of this.services.splice(0).reverse()) {
      await service.stop().catch(error => failures.push(error))
    }
    if (failures.length > 0) throw failures[0]
  }

  status(): FleetStatus {
    const machines = this.members.map(member => this.machineStatus(member))
    const { bytesSent, bytesIfAllEscalated } = this.traffic()
    return {
      elapsedS: this.startedAt === 0 ? 0 : ((this.stoppedAt ?? performance.now()) - this.startedAt) / 1_000,
      counters: this.counters(),
      bytesSaved: bytesIfAllEscalated - bytesSent,
      bytesIfAllEscalated,
      alarms: this.scoreboard.activeAlarms.size,
      machines,
    }
  }

  summary(): FleetSummary {
    const audits = this.members.reduce((sum, { agent }) => sum + (agent.health?.audits ?? 0), 0)
    return this.scoreboard.summary(this.counters(), { audits, ...this.traffic() })
  }

  /** The addresses, for a person to copy. */
  describe(): string {
    const { broker, flows } = this
    const { name } = fleetIdentities.operator
    const address = new URL(this.brokerUrl)
    const webSocket = broker && `  ws://127.0.0.1:${broker.webSocketPort}`
    const lines = [
      ...(flows
        ? [
            `  dashboard  ${flows.dashboardUrl}`,
            `  editor     ${flows.editorUrl}`,
            `  log in as  ${adminName} with ${this.adminPassword}`,
          ]
        : []),
      `  broker     ${this.brokerUrl}${webSocket ?? ''}`,
      `  listen in  mosquitto_sub -h ${address.hostname} -p ${address.port || 1883} -u ${name} -P ${this.secrets.get(name)} -t 'faultline/v1/#' -F '%t %l bytes'`,
      `  log        ${join(this.options.directory, 'fleet.log')}`,
      ...this.keptConfigurations(),
    ]
    return `\n${lines.join('\n')}\n`
  }

  /** What an operator configured in an earlier run goes before the options of this one, as on a real device. */
  private keptConfigurations(): string[] {
    return this.members.flatMap(({ machine, agent }) => {
      const { revision = 0, config } = agent.configuration ?? {}
      return revision === 0
        ? []
        : [`  ${machine.device} keeps configuration revision ${revision}: policy ${config?.policy?.name}`]
    })
  }

  private async add<S extends Service>(service: S): Promise<S> {
    await service.start()
    this.services.push(service)
    return service
  }

  private async enrol(registry: Registry, devices: readonly Identity[]): Promise<ReadonlyMap<string, string>> {
    return new FleetIdentities(this.options.directory, registry).enrol([...Object.values(fleetIdentities), ...devices])
  }

  private async startBroker(registry: Registry): Promise<void> {
    if (this.options.broker !== undefined) return this.findBroker(this.options.broker)
    const { ports, directory } = this.options
    this.broker = await this.add(
      new Broker({
        host: '127.0.0.1',
        port: ports.mqtt,
        webSocketPort: ports.webSocket,
        registry,
        // Alarms and their acknowledgements are retained messages: they are there again at the next start.
        store: join(directory, 'broker.db'),
        logger: this.logger,
      }),
    )
  }

  /** Throws `BROKER_UNREACHABLE`, `CREDENTIALS_REFUSED`. */
  private async findBroker(url: string): Promise<void> {
    const identity = fleetIdentities.operator
    const session = new MqttSession({ url, identity, secret: 'unasked', subscriptions: [], logger: this.logger })
    try {
      await session.start()
      const problem = once(session, 'problem', { signal: AbortSignal.timeout(reachMs) })
      const [error] = await Promise.race([session.whenOnline().then(() => []), problem])
      if (error) throw error
    } catch (cause) {
      const { code, message } = toFaultlineError(cause, 'BROKER_UNREACHABLE')
      throw new FaultlineError(code, `${url}: ${message}`, { cause })
    } finally {
      await session.stop()
    }
  }

  private async startFlows(registry: Registry): Promise<void> {
    if (!this.options.flows) return
    const secrets = await this.enrol(registry, [])
    const identity = fleetIdentities.flows
    // Kept readable, as the secrets of a fleet on one machine are, to be shown at every start.
    this.adminPassword = await keptSecret(join(this.options.directory, 'admin-password'))
    this.flows = await this.add(
      new FlowRunner({
        userDirectory: join(this.options.directory, 'node-red'),
        port: this.options.ports.http,
        broker: { url: this.brokerUrl, identity, secret: secrets.get(identity.name)! },
        store: this.storeSettings,
        bundles: [localBundle],
        adminPassword: this.adminPassword,
        logger: this.logger,
      }),
    )
  }

  private async startServices(store: TelemetryStore, server: LoadedClassifier): Promise<void> {
    const { logger, brokerUrl: url } = this
    const access = (identity: Identity) => ({ url, identity, secret: this.secrets.get(identity.name)! })
    const recorder = await this.add(
      new Recorder({
        broker: access(fleetIdentities.recorder),
        store,
        spool: { directory: join(this.options.directory, 'recorder') },
        logger,
      }),
    )
    const { operator } = fleetIdentities
    const watcher = new MqttSession({
      ...access(operator),
      clientId: `${operator.name}/fleet`,
      subscriptions: [topicFilter('alarm')],
      onMessage: message => {
        if (message.kind === 'alarm') this.scoreboard.recordAlarm(message.payload)
      },
      logger,
    })
    await this.add(watcher)
    const agent = await this.add(
      new ServerAgent({
        server: fleetIdentities.server.id,
        broker: access(fleetIdentities.server),
        host: new InProcessHost([server.classifier], new Map([[server.classifier.task, server.enginesRejected]])),
        logger,
      }),
    )
    await Promise.all([
      recorder.whenOnline(),
      watcher.whenOnline(),
      agent.online || new Promise(done => agent.once('online', () => done(true))),
    ])
  }

  private async chooseMachines(local: LoadedClassifier): Promise<Machine[]> {
    const { source, devices, seed } = this.options
    if (source === 'simulated') return simulatedMachines(devices, seed)
    return recordedMachines(devices, local.classifier.bundle.description, await openDataset(source))
  }

  private async createMember(machine: Machine, index: number, local: LoadedClassifier): Promise<Member> {
    const { input } = local.classifier
    if (input.kind === 'image') throw new Error('the shipped local model takes images')
    const identity = identityOf('device', site, machine.device)
    const agent = new DeviceAgent({
      site,
      device: machine.device,
      broker: { url: this.brokerUrl, secret: this.secrets.get(identity.name)! },
      points: [
        {
          point: machine.point,
          machine: machine.machine,
          source: await createSource(this.sourceOf(machine), input),
          // What the simulator simulates; a recording's bearing is known to those who made it.
          ...(this.options.source === 'simulated' && { bearing: skf6205 }),
        },
      ],
      classifier: local.classifier,
      enginesRejected: local.enginesRejected,
      dataDirectory: join(this.options.directory, 'devices', machine.device),
      policy: { name: this.options.policy, parameters: {} },
      price: 0.2,
      prices: null,
      budget: null,
      auditRate: 0.02,
      episodes: 'off',
      deadlineMs,
      reporting: 'every',
      summaryIntervalS: 60,
      healthIntervalS,
      // Of the audits: devices that drew alike would all be audited in the same moment.
      seed: this.options.seed + index,
      logger: this.logger.child({ device: machine.device }),
    })
    const member: Member = { machine, agent }
    agent.on('inference', ({ inference, truth }) => this.observe(member, inference, truth))
    return member
  }

  private observe(member: Member, inference: Inference, truth: string | undefined): void {
    member.lastLabel = inference.label
    this.scoreboard.record(inference, truth ?? member.machine.fault)
  }

  private sourceOf({ feed, fault }: Machine): SourceConfig {
    const { speed, source } = this.options
    if (feed.kind === 'recording') {
      const { recording, from, to } = feed
      return { kind: 'replay', directory: source, recording, from, to, loop: true, speed }
    }
    const { shaftHz, faultAfterS, growthS, seed } = feed
    return {
      kind: 'simulated',
      intervalMs: 250,
      speed,
      shaftHz,
      fault: fault as Extract<SourceConfig, { kind: 'simulated' }>['fault'],
      faultAfterS,
      growthS,
      seed,
    }
  }

  private machineStatus({ machine, agent, lastLabel }: Member): MachineStatus {
    const { health } = agent
    const counters = health?.counters ?? noWindows
    return {
      machine: machine.machine,
      windows: counters.windows,
      accepted: counters.accepted,
      escalated: counters.windows - counters.accepted,
      verdicts: counters.answered,
      roundTripMs: health?.roundTripMs?.median,
      bytesSaved: agent.bytesAvoided,
      label: lastLabel,
      alarms: [...this.scoreboard.activeAlarms.values()]
        .filter(alarm => alarm.machine === machine.machine)
        .map(alarm => alarm.fault),
    }
  }

  private counters() {
    return addCounters(this.members.map(({ agent }) => agent.health?.counters ?? noWindows))
  }

  private traffic(): { bytesSent: number; bytesIfAllEscalated: number } {
    let bytesSent = 0
    let avoided = 0
    for (const { agent } of this.members) {
      bytesSent += agent.health?.bytes.sent ?? 0
      avoided += agent.bytesAvoided
    }
    return { bytesSent, bytesIfAllEscalated: bytesSent + avoided }
  }

  private get storeSettings(): StoreSettings {
    const { influx, directory } = this.options
    return influx ? { kind: 'influx', url: influx } : { kind: 'sqlite', path: join(directory, 'telemetry.db') }
  }

  private get brokerUrl(): string {
    return this.options.broker ?? `mqtt://127.0.0.1:${this.broker?.port}`
  }
}
