import { EventEmitter } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type Command,
  type CommandResult,
  type ConfigReported,
  encodePayload,
  type FaultlineError,
  type Health,
  type Message,
  type Payload,
  type Problem,
  parseTopic,
  toFaultlineError,
  topicFilter,
} from '@faultline/protocol'
import type { Service } from '@faultline/runtime'
import { compose } from './compose.ts'
import type { RuntimeSettings } from './control/configuration.ts'
import type { LocalModel } from './decisions/assessment.ts'
import type { Policies } from './decisions/policies.ts'
import { updateFilters } from './link/agent-session.ts'
import type { DeviceAgentEvents, DeviceAgentOptions, InferenceEvent } from './options.ts'
import { healthOf } from './reports/health.ts'
import { offlineState, onlineState } from './reports/state.ts'
import type { Running } from './running.ts'
import { fixedSources } from './sources/point-sources.ts'
import { Store } from './spool/store.ts'
import { Timers } from './timers.ts'

/** How long a stop waits for verdicts, and then for the broker to take what was spooled. */
const farewellMs = 2_000
/** Between attempts to begin again after a restart that failed. */
const retryMs = 5_000

/** Windows of a device's points, answered by its own model where that will do and by a server where it will not. */
export class DeviceAgent extends EventEmitter<DeviceAgentEvents> implements Service {
  private options: DeviceAgentOptions
  /** From start to stop; what is kept outlives a restart within the process, also where the disk does not take it. */
  private store: Store | undefined
  private running: Running | undefined
  private halting: Promise<void> | undefined
  private readonly timers = new Timers<'summary' | 'health' | 'evidence'>((thrown, name) =>
    this.failed(thrown, `no ${name}`),
  )
  private errors = 0
  /** The latest, for whoever asks. */
  private failures: { at: string; what: string; code: string; message: string }[] = []
  private restartWanted = false
  /** Of the sources, which may be older than this start. */
  private overrunsBefore = 0
  /** What the last state said of problems. */
  private saidProblems = ''
  private finalHealth: Health | undefined
  private finalBytesAvoided = 0

  constructor(options: DeviceAgentOptions) {
    super()
    this.options = options
  }

  get online(): boolean {
    return this.running?.session.online ?? false
  }

  /** As published; the last one after a stop. Undefined before the start. */
  get health(): Health | undefined {
    if (!this.running) return this.finalHealth
    const { startedAt, flow, audits, spool, outbox, pricing, budget, session, monitors } = this.running
    const overruns = this.overruns - this.overrunsBefore
    return healthOf({
      startedAt,
      flow,
      audits,
      spool,
      outbox,
      pricing,
      budget,
      overruns,
      foreign: this.options.points.reduce((sum, { source }) => sum + (source.foreign ?? 0), 0),
      sensors: monitors.flatMap(({ sensor }) => sensor ?? []),
      bytes: session.bytes,
      errors: this.errors + this.running.store.failures,
      problems: this.problems,
      energy: this.running.energy,
    })
  }

  /** What is wrong with the device itself, as opposed to its sensors and machines. */
  get problems(): Problem[] {
    const other = this.running?.session.problem
    return [
      ...(this.running?.store.problems ?? []),
      ...(other ? [{ code: other.error.code, message: other.error.message, since: other.since }] : []),
      ...(this.options.problems?.() ?? []),
      ...(this.running?.missingSpeed.problems ?? []),
    ].slice(0, 16)
  }

  /** What is in force and which revision set it; 0 is the file the agent started from. Undefined while stopped. */
  get configuration(): ConfigReported | undefined {
    return this.running?.configuration.report
  }

  /** Bytes that accepting saved: what the windows would have taken that were not sent. */
  get bytesAvoided(): number {
    return this.running?.flow.bytes.avoided ?? this.finalBytesAvoided
  }

  private get overruns(): number {
    return this.options.points.reduce((sum, { source }) => sum + source.overruns, 0)
  }

  /**
   * Begins at once, with or without a connection, and with or without a disk. Throws `CERTIFICATE_INVALID` where a file of its
   * identity cannot be read, and the errors of policies.
   */
  async start(): Promise<void> {
    const { dataDirectory: directory, diskRetryMs: retryMs, logger } = this.options
    this.store = Store.open({ directory, logger, ...(retryMs && { retryMs }) })
    try {
      await this.begin(this.store)
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  private async begin(store: Store): Promise<void> {
    const { updates } = this.options
    this.errors = 0
    this.overrunsBefore = this.overruns
    store.removeAllListeners()
    const running = compose(this.options, store, {
      receive: message => this.receive(message),
      apply: (settings, policies) => this.apply(settings, policies),
      stateChanged: () => this.publishState(),
      sensorChanged: () => this.publishHealth(),
      window: (point, window) => this.announce('window', point, window),
      inference: event => this.announce('inference', event),
      windowFailed: () => {
        this.errors++
      },
      failed: (thrown, what) => this.failed(thrown, what),
      report: () => ({
        health: this.health,
        configuration: this.configuration,
        problems: this.problems,
        failures: this.failures,
      }),
      restart: () => {
        this.restartWanted = true
      },
    })
    this.running = running
    const { session, outbox, servers, configuration, monitors } = running
    store.on('changed', () => {
      this.publishState()
      this.publishHealth()
    })
    store.on('writable', () => outbox.replenished())
    store.on('found', () => {
      this.reload(store).catch(thrown => this.failed(thrown, 'starting anew failed'))
    })
    session.on('online', () => this.connected())
    session.on('offline', () => {
      outbox.disconnected()
      updates?.disconnected()
      // MQTT.js would send it again with every connection, whatever it is that breaks them, and it would not count in the budget.
      session.withdraw()
      this.announce('offline')
    })
    session.on('cleared', address => {
      if (address.kind === 'update-offer') updates?.withdrawn()
      if (address.kind === 'server-state') servers.forget(address.server)
    })
    session.on('refused', (error, topic, payload) => this.refused(error, topic, payload))
    this.follow(configuration.current)
    await session.start()
    // Stopped meanwhile.
    if (this.running !== running) return
    for (const monitor of monitors) await monitor.start()
    this.schedule(configuration.current)
    this.finishCommands()
  }

  /** What a crash has cut off: its message was acknowledged, and comes no more. */
  private finishCommands(): void {
    try {
      for (const command of this.running?.commands.unfinished() ?? []) {
        this.options.logger.warn({ id: command.id, name: command.name }, 'carrying out a command that was cut off')
        this.execute(command).catch(thrown => this.failed(thrown, 'a command that was cut off failed'))
      }
    } catch (thrown) {
      this.failed(thrown, 'commands that were cut off cannot be read')
    }
  }

  /** Goes on with another model: ends every window with the one there was, and begins anew. */
  async exchange(classifier: LocalModel, enginesRejected: DeviceAgentOptions['enginesRejected']): Promise<void> {
    await this.halt()
    this.options = { ...this.options, classifier, enginesRejected }
    if (!this.store) return
    try {
      await this.begin(this.store)
    } catch (error) {
      await this.halt()
      throw error
    }
  }

  /** Ends every window, sends what can be sent, keeps the rest for the next start, and disconnects. */
  async stop(): Promise<void> {
    const { store } = this
    this.store = undefined
    await this.halt()
    store?.close()
  }

  private async halt(): Promise<void> {
    this.halting ??= this.end().finally(() => {
      this.halting = undefined
    })
    await this.halting
  }

  private async end(): Promise<void> {
    const { running } = this
    if (!running) return
    const { flow, policies, commissioning, budget, outbox, session, configuration, monitors, boot } = running
    this.timers.stop()
    await Promise.all(monitors.map(monitor => monitor.stop()))
    await flow.finish(session.online ? Math.min(configuration.current.deadlineMs, farewellMs) : 0)
    if (session.online) {
      await outbox.drained(farewellMs)
      running.evidence.tell(running.publisher)
      this.publish('state', offlineState(boot))
    }
    outbox.stop()
    await session.stop()
    outbox.close()
    policies.save()
    commissioning.save()
    budget.close()
    this.finalHealth = this.health
    this.finalBytesAvoided = this.bytesAvoided
    this.running = undefined
  }

  private connected(): void {
    const { running } = this
    if (!running) return
    running.pricing.connectedFrom(running.session.localAddress)
    this.publishState()
    this.publish('config-reported', running.configuration.report)
    this.publishHealth()
    if (running.outbox.connected()) running.flow.renewReports()
    this.options.updates?.connected({
      status: payload => this.publish('update-status', payload),
      request: payload => this.publish('update-request', payload),
    })
    this.announce('online')
  }

  private async receive(message: Message): Promise<void> {
    if (message.kind === 'verdict') this.running?.flow.receive(message.address.point, message.payload)
    else if (message.kind === 'config-desired') this.configured(this.running?.configuration.receive(message.payload))
    else if (message.kind === 'server-state') this.running?.servers.heard(message.address.server, message.payload)
    else if (message.kind === 'pool') this.pooled(message)
    else if (message.kind === 'command') await this.execute(message.payload)
    else if (message.kind === 'update-offer') this.options.updates?.offered(message.payload)
    else if (message.kind === 'update-chunk') this.options.updates?.chunk(message.payload)
  }

  private pooled(message: Extract<Message, { kind: 'pool' }>): void {
    if (this.running?.evidence.heard(message)) this.announce('adopted', message.address.machineType)
  }

  private async execute(command: Command): Promise<void> {
    const { site, device } = this.options
    const result = await this.running?.commands.execute(command).catch(thrown => this.refusalOf(command, thrown))
    if (!result) return
    this.running?.outbox.send({ kind: 'command-result', site, device }, encodePayload('command-result', result))
    if (this.restartWanted) await this.restart()
  }

  /** The result of a command that could not be kept: its message is acknowledged, so its sender has to hear of it. */
  private refusalOf({ id, name }: Command, thrown: unknown): CommandResult {
    this.failed(thrown, 'a command could not be kept')
    const { code, message } = toFaultlineError(thrown)
    return { id, name, at: new Date().toISOString(), ok: false, error: { code, message } }
  }

  /** Once the result is in the spool: the first start that has a connection sends it. */
  private async restart(): Promise<void> {
    this.restartWanted = false
    this.options.logger.info('restarting on command')
    await this.halt()
    await this.resume()
  }

  /** What the disk has kept can be read at last: it counts, rather than what was learned without it. */
  private async reload(store: Store): Promise<void> {
    this.options.logger.info('the disk can be read again; starting anew with what it kept')
    await this.halt()
    store.adopt()
    await this.resume()
  }

  /** Begins again. Where that fails it is tried until it succeeds: the machine would be unwatched until a person came. */
  private async resume(): Promise<void> {
    while (this.store) {
      try {
        await this.begin(this.store)
        return
      } catch (thrown) {
        this.failed(thrown, 'starting again failed')
        await this.halt()
        await delay(retryMs, undefined, { ref: false })
      }
    }
  }

  private refused(error: FaultlineError, topic: string, payload: Buffer): void {
    this.errors++
    if (parseTopic(topic)?.kind !== 'config-desired') return
    this.configured(this.running?.configuration.refuse(error, payload))
  }

  private configured(report: ConfigReported | undefined): void {
    if (!report) return
    this.publish('config-reported', report)
    this.announce('configured', report)
  }

  /** Puts settings in force; throws before anything has changed. */
  private apply(settings: RuntimeSettings, policies: Policies): void {
    const sources = this.options.sources ?? fixedSources
    sources.check(settings.sources)
    policies.use(settings)
    sources.use(settings.sources)
    if (!this.running) return
    this.running.pricing.use(settings)
    this.running.pace.use(settings.pace)
    this.running.budget.use(settings.budget)
    this.running.flow.setRules({ settings, policies })
    this.follow(settings)
    this.schedule(settings)
    this.publishState(settings)
  }

  /** Listens to offers of updates, which an older broker refuses, and to the servers where their load has a price. */
  private follow({ prices }: RuntimeSettings): void {
    const { session, servers } = this.running!
    const followed = prices?.followServers ?? false
    if (!followed) servers.clear()
    const filters = [...updateFilters(this.options), ...(followed ? [topicFilter('server-state')] : [])]
    session.follow(filters).catch(thrown => this.failed(thrown, 'following topics failed'))
  }

  private schedule({ summaryIntervalS, healthIntervalS }: RuntimeSettings): void {
    this.timers.repeat('evidence', this.options.evidenceIntervalS ?? 600, () =>
      this.running?.evidence.tell(this.running.publisher),
    )
    this.timers.repeat('summary', summaryIntervalS, () => this.running?.flow.flushSummaries())
    this.timers.repeat('health', healthIntervalS, () => {
      this.publishHealth()
      if (JSON.stringify(this.problems) !== this.saidProblems) this.publishState()
      // What waited for the budget may fit by now.
      this.running?.outbox.pump()
    })
  }

  private failed(thrown: unknown, what: string): void {
    this.errors++
    const { code, message } = toFaultlineError(thrown)
    this.failures = [...this.failures, { at: new Date().toISOString(), what, code, message }].slice(-20)
    this.options.logger.error({ code, error: message }, what)
  }

  private publishHealth(): void {
    try {
      const { health } = this
      if (health && this.online) this.publish('health', health)
    } catch (thrown) {
      this.failed(thrown, 'no health')
    }
  }

  private publishState(settings = this.running?.configuration.current): void {
    if (!this.running || !settings) return
    const { broker, classifier, enginesRejected = [], points, agentDigest } = this.options
    const { boot, commissioning } = this.running
    const { certificate } = broker
    const state = onlineState(boot, classifier, enginesRejected, settings, points, commissioning, certificate)
    const { problems } = this
    this.saidProblems = JSON.stringify(problems)
    this.publish('state', {
      ...state,
      ...(problems.length > 0 && { problems }),
      ...(agentDigest !== undefined && { agentDigest }),
    })
  }

  /** For what is true only now: lost when there is no connection, and made anew when there is one. */
  private publish<K extends 'state' | 'health' | 'config-reported' | 'update-status' | 'update-request'>(
    kind: K,
    payload: Payload<K>,
  ): void {
    const { site, device, logger } = this.options
    if (!this.online) return
    try {
      this.running?.publisher
        .publishRaw({ kind, site, device }, encodePayload(kind, payload))
        .catch(error => logger.debug({ kind, error: toFaultlineError(error).message }, 'not published'))
    } catch (thrown) {
      this.failed(thrown, `no ${kind}`)
    }
  }

  /** A listener's mistake is not the agent's. */
  private announce<E extends keyof DeviceAgentEvents>(event: E, ...args: DeviceAgentEvents[E]): void {
    try {
      this.emit(event as keyof DeviceAgentEvents, ...(args as [InferenceEvent]))
    } catch (thrown) {
      this.options.logger.error({ event, error: toFaultlineError(thrown).message }, 'a listener failed')
    }
  }
}
