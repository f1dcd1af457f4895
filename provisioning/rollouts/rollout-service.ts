import { EventEmitter } from 'node:events'
import { access } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  encodePayload,
  type FaultlineError,
  type Identity,
  identifierPattern,
  type Message,
  type Payload,
  type RolloutCommand,
  type RolloutResult,
  type TopicAddress,
  type TopicKind,
  toFaultlineError,
  topicFilter,
} from '@faultline/protocol'
import { type Logger, MqttSession, type Service } from '@faultline/runtime'
import type { Registry } from '../registry.ts'
import { type Artifact, archivePath } from './artifact.ts'
import { carryOut } from './commands.ts'
import { RolloutOrders } from './orders.ts'
import { statusOf } from './report.ts'
import { RunLock } from './run-lock.ts'
import { RolloutRunner, type RolloutRunnerOptions } from './runner.ts'
import { isOpen } from './states.ts'
import { RolloutStore } from './store.ts'

export interface RolloutServiceOptions {
  registry: Registry
  /** Its file; rollouts and archives lie beside it. */
  path: string
  broker: RolloutRunnerOptions['broker']
  identity: Identity
  logger: Logger
}

interface ServiceEvents {
  /** The broker does not let it in. It goes on trying. */
  error: [error: FaultlineError]
}

export const rolloutsOf = (registry: string): string => join(dirname(registry), 'rollouts.db')
export const artifactsOf = (registry: string): string => join(dirname(registry), 'rollouts')

/** How often it looks what other processes have written into the store, and says what has changed. */
const lookMs = 1_000
/** Rollouts that it says anything of: all that are not over, and the newest. */
const maxTold = 20
const maxArtifacts = 64
/** Commands whose results it knows, for those that come twice. */
const maxResults = 1_000

/**
 * Runs all rollouts of a registry that are not over, over restarts of its own, until each ends by its own terms, watched or not.
 * It takes orders from the store, where the command line writes them, and as messages, and says over the broker how far each is.
 */
export class RolloutService extends EventEmitter<ServiceEvents> implements Service {
  private readonly options: RolloutServiceOptions
  private readonly lock: RunLock
  private readonly store: RolloutStore
  private readonly runners = new Map<string, RolloutRunner>()
  private readonly orders: RolloutOrders
  private readonly results = new Map<string, RolloutResult>()
  /** What was said of rollouts, and whether that is still so. */
  private readonly told = new Map<string, string>()
  private session: MqttSession | undefined
  private timer: NodeJS.Timeout | undefined
  private looking: Promise<void> = Promise.resolve()
  private version = ''
  private failing = false

  constructor(options: RolloutServiceOptions) {
    super()
    this.options = options
    this.lock = new RunLock(options.path)
    this.store = new RolloutStore(rolloutsOf(options.path))
    this.orders = new RolloutOrders(options.registry, this.store)
  }

  /** Throws `ROLLOUTS_SERVED`, `DATABASE_FAILED`, and what a session throws. */
  async start(): Promise<void> {
    const { broker, identity, logger } = this.options
    await this.lock.start()
    try {
      await this.store.start()
      this.session = new MqttSession({
        ...broker,
        identity,
        clientId: `${identity.name}/rollouts`,
        will: { address: this.address, payload: encodePayload('rollout-service', { online: false }) },
        subscriptions: [topicFilter('rollout-command')],
        onMessage: message => this.receive(message),
        logger,
      })
      this.session.on('online', () => {
        // A broker may have lost what is retained.
        this.version = ''
        this.told.clear()
      })
      this.session.on('problem', error => {
        if (error.code === 'CREDENTIALS_REFUSED') this.emit('error', error)
      })
      await this.session.start()
    } catch (thrown) {
      await this.stop()
      throw thrown
    }
    this.timer = setInterval(() => this.look(), lookMs)
    this.look()
    await this.looking
  }

  async stop(): Promise<void> {
    clearInterval(this.timer)
    await this.looking
    await Promise.all([...this.runners.values()].map(runner => runner.stop()))
    this.runners.clear()
    if (this.session?.online) this.publish(this.address, { online: false })
    await this.session?.stop()
    this.session = undefined
    await this.store.stop()
    await this.lock.stop()
  }

  private get address() {
    return { kind: 'rollout-service', service: this.options.identity.id } as const
  }

  private look(): void {
    this.looking = this.looking
      .then(() => this.takeUp())
      .then(
        () => {
          this.failing = false
        },
        thrown => {
          const { code, message } = toFaultlineError(thrown)
          if (!this.failing) this.options.logger.error({ code, error: message }, 'looking after the rollouts failed')
          this.failing = true
        },
      )
  }

  /** Begins what another process has started, and says what has changed. */
  private async takeUp(): Promise<void> {
    const version = this.store.version()
    if (version === this.version) return
    for (const id of this.store.unfinished()) if (!this.runners.has(id)) await this.run(id)
    if (!this.session?.online) return
    await this.tell()
    this.version = version
  }

  private async run(id: string): Promise<void> {
    const { path, broker, identity, logger, registry } = this.options
    const runner = new RolloutRunner({ id, store: this.store, artifacts: artifactsOf(path), broker, identity, logger })
    runner.on('error', error => logger.error({ rollout: id, code: error.code, error: error.message }, 'rollout waits'))
    runner.on('ended', ({ state, reason }, byItself) => {
      logger.info({ rollout: id, state, reason }, 'rollout ended')
      // What a person did is in the log of the registry.
      if (!byItself) return
      try {
        registry.record('rollout-ended', 'registry', `${id}: ${state}${reason === undefined ? '' : `, ${reason}`}`)
      } catch (thrown) {
        logger.error({ rollout: id, error: toFaultlineError(thrown).message }, 'writing the log of the registry failed')
      }
    })
    runner.on('cleared', () => {
      this.runners.delete(id)
      runner.stop().catch(thrown => {
        logger.warn({ rollout: id, error: toFaultlineError(thrown).message }, 'leaving the broker failed')
      })
    })
    this.runners.set(id, runner)
    try {
      await runner.start()
      logger.info({ rollout: id }, 'rollout runs')
    } catch (thrown) {
      this.runners.delete(id)
      await runner.stop()
      throw thrown
    }
  }

  private receive({ kind, address, payload }: Message): void {
    if (kind !== 'rollout-command') return
    const { rollout } = address
    const result = this.results.get(payload.id) ?? this.resultOf(rollout, payload)
    this.results.set(payload.id, result)
    if (this.results.size > maxResults) this.results.delete(this.results.keys().next().value!)
    this.publish({ kind: 'rollout-result', rollout }, result)
    this.look()
  }

  private resultOf(rollout: string, command: RolloutCommand): RolloutResult {
    const { id, by, name } = command
    const at = new Date().toISOString()
    try {
      carryOut(this.orders, this.store, rollout, command)
      this.options.logger.info({ rollout, name, by }, 'command carried out')
      return { id, at, ok: true }
    } catch (thrown) {
      const { code, message } = toFaultlineError(thrown)
      this.options.logger.warn({ rollout, name, by, code, error: message }, 'command refused')
      return { id, at, ok: false, error: { code, message } }
    }
  }

  private async tell(): Promise<void> {
    const all = this.store.list().filter(({ id }) => identifierPattern.test(id))
    const shown = all.filter(({ state }, i) => i < maxTold || isOpen(state))
    for (const rollout of shown) {
      const { at, ...status } = statusOf(rollout, this.store.devices(rollout.id))
      const text = JSON.stringify(status)
      if (this.told.get(rollout.id) === text) continue
      this.told.set(rollout.id, text)
      this.publish({ kind: 'rollout', rollout: rollout.id }, { at, ...status })
    }
    // Those that have become too old are forgotten, with what an earlier process said of them.
    for (const { id } of all.filter(rollout => !shown.includes(rollout)).slice(0, maxTold)) {
      if (this.told.get(id) === '') continue
      this.told.set(id, '')
      this.session?.publishRaw({ kind: 'rollout', rollout: id }, Buffer.alloc(0)).catch(this.unsent)
    }
    const artifacts = await this.available()
    const text = JSON.stringify(artifacts)
    if (this.told.get(' artifacts') === text) return
    this.told.set(' artifacts', text)
    this.publish(this.address, { online: true, at: new Date().toISOString(), artifacts })
  }

  /** What can be rolled out: those whose archives are there. */
  private async available(): Promise<Pick<Artifact, 'kind' | 'name' | 'version' | 'digest'>[]> {
    const directory = artifactsOf(this.options.path)
    const found: Pick<Artifact, 'kind' | 'name' | 'version' | 'digest'>[] = []
    for (const { kind, name, version, digest, archive } of this.store.artifacts().slice(0, maxArtifacts)) {
      const isThere = await access(archivePath(directory, archive.sha256)).then(
        () => true,
        () => false,
      )
      if (isThere) found.push({ kind, name, version, digest })
    }
    return found
  }

  private publish<K extends TopicKind>(address: Extract<TopicAddress, { kind: K }>, payload: Payload<K>): void {
    this.session?.publish(address, payload).catch(this.unsent)
  }

  private readonly unsent = (thrown: unknown): void => {
    this.options.logger.warn({ error: toFaultlineError(thrown).message }, 'publishing about rollouts failed')
  }
}
