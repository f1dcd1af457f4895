import { EventEmitter } from 'node:events'
import {
  type DeviceState,
  type FaultlineError,
  type Identity,
  type Message,
  newId,
  toFaultlineError,
  topicFilter,
  topicOf,
  type UpdateStatus,
} from '@faultline/protocol'
import { type BrokerAccess, type Logger, MqttSession, type Service } from '@faultline/runtime'
import { archivePath } from './artifact.ts'
import { ChunkServer } from './chunk-server.ts'
import { Offers } from './offers.ts'
import { failureOf, groupUnderWay, progressOf } from './progress.ts'
import { type DeviceRolloutState, isOpen, isOver, isUnderWay } from './states.ts'
import type { Rollout, RolloutDevice, RolloutStore } from './store.ts'
import { WaitingTime } from './waiting-time.ts'

export interface RolloutRunnerOptions {
  id: string
  store: RolloutStore
  /** Where archives lie. */
  artifacts: string
  broker: BrokerAccess & { backOff?: { initialMs: number; maximumMs: number } }
  identity: Identity
  logger: Logger
  /** Milliseconds on a clock that nobody sets; `performance.now` if omitted. */
  clock?: () => number
}

interface RunnerEvents {
  /** A device got further. */
  device: [device: RolloutDevice]
  /** It was paused or resumed. */
  turned: [rollout: Rollout]
  /** By its own terms, or by a person. */
  ended: [rollout: Rollout, byItself: boolean]
  /** Ended, and what it offered is withdrawn. */
  cleared: []
  /** The store fails; it is tried again. */
  waiting: []
  /** The broker does not let it in: nothing will come of waiting. */
  error: [error: FaultlineError]
}

/** How often it looks whether a person changed the rollout, or a device is lost. */
const lookMs = 1_000
/** Retained states have come by then: a device that has none was never connected. */
const settleMs = 5_000

/**
 * Carries a rollout on: offers to one group after the other, serves the chunks, and follows what devices report. Everything it
 * knows is in the store, and what devices report is retained, so that it can end at any moment and another go on.
 */
export class RolloutRunner extends EventEmitter<RunnerEvents> implements Service {
  private readonly options: RolloutRunnerOptions
  private readonly devices = new Map<string, RolloutDevice>()
  /** Digests that devices say they run. */
  private readonly running = new Map<string, string[]>()
  private rollout!: Rollout
  private session: MqttSession | undefined
  private chunks: ChunkServer | undefined
  private offers!: Offers
  private time!: WaitingTime
  private timer: NodeJS.Timeout | undefined
  private over = false
  /** What it offered is being withdrawn. */
  private clearing: Promise<void> | undefined
  /** Messages that met a store that failed, by topic: the newest is what counts. */
  private readonly missed = new Map<string, Message>()
  private failing = false
  /** Devices that say they are not connected. */
  private readonly away = new Set<string>()
  private onlineAt = 0

  constructor(options: RolloutRunnerOptions) {
    super()
    this.options = options
  }

  /** Throws `ROLLOUT_UNKNOWN`, and what a session throws. */
  async start(): Promise<void> {
    const { id, store, artifacts, broker, identity, logger, clock } = this.options
    this.rollout = store.show(id)
    for (const device of store.devices(id)) this.devices.set(device.name, device)
    this.session = new MqttSession({
      ...broker,
      identity,
      // Several may be at work, and none of them wants what came while it was away.
      clientId: `${identity.name}/rollout-${newId()}`,
      subscriptions: (['state', 'update-status', 'update-request'] as const).map(kind => topicFilter(kind)),
      onMessage: message => {
        if (!this.attempt(() => this.receive(message))) this.missed.set(topicOf(message.address), message)
      },
      logger,
    })
    this.chunks = new ChunkServer(archivePath(artifacts, this.rollout.artifact.archive.sha256), this.session)
    this.offers = new Offers(this.session, this.rollout, logger)
    this.time = new WaitingTime(store, id, clock)
    this.session.on('online', () => this.attempt(() => this.connected()))
    this.session.on('problem', error => {
      if (error.code === 'CREDENTIALS_REFUSED') this.emit('error', error)
    })
    this.timer = setInterval(() => this.attempt(() => this.look()), lookMs)
    await this.session.start()
  }

  /** Leaves the rollout as it is. */
  async stop(): Promise<void> {
    clearInterval(this.timer)
    if (!this.over) this.attempt(() => this.time?.save())
    await this.chunks?.stop()
    await this.session?.stop()
    await this.clearing
  }

  /** Connected once at least. */
  async whenOnline(signal?: AbortSignal): Promise<void> {
    await this.session?.whenOnline(signal)
  }

  /** As they stand. */
  get list(): RolloutDevice[] {
    return [...this.devices.values()]
  }

  private connected(): void {
    this.onlineAt = performance.now()
    if (this.over || this.lookForTurn()) return
    // A broker may have lost what is retained; a device passes over what it knows.
    for (const { name, state, offeredAt } of this.devices.values())
      if (isUnderWay(state)) this.offers.make(name)
      // A pause whose process ended before the broker had heard of it.
      else if (state === 'waiting' && offeredAt !== undefined) this.offers.withdraw(name)
    this.advance()
  }

  private receive(message: Message): void {
    if (this.over || !('device' in message.address)) return
    const { site, device: id } = message.address
    const device = this.devices.get(`devices/${site}/${id}`)
    if (!device) return
    if (message.kind === 'state') this.heardState(device, message.payload)
    else if (message.kind === 'update-status') this.heardStatus(device, message.payload)
    else if (message.kind === 'update-request' && message.payload.id === this.rollout.id && device.state !== 'waiting')
      this.chunks?.serve({ site, device: id }, message.payload).catch(thrown => {
        this.options.logger.error({ device: device.name, error: toFaultlineError(thrown).message }, 'chunks not served')
      })
  }

  private heardState(device: RolloutDevice, state: DeviceState): void {
    if (!state.online) {
      this.away.add(device.name)
      return
    }
    this.away.delete(device.name)
    const { kind } = this.rollout.artifact
    const digests =
      kind === 'bundle' ? state.models.map(({ digest }) => digest) : state.agentDigest ? [state.agentDigest] : []
    this.running.set(device.name, digests)
    this.confirm(device)
  }

  private heardStatus(device: RolloutDevice, { id, state, error, ...status }: UpdateStatus): void {
    if (id !== this.rollout.id || device.state === 'succeeded') return
    if (device.state === 'lost' && state !== 'done') return
    // A state that a later version added is a step on the way, as what this one knows of the device still holds.
    if (state === 'other') return
    // Its offer was withdrawn by a pause as it began: it is offered again.
    if (error?.code === 'UPDATE_WITHDRAWN') return
    const detail = error ? `${error.code}: ${error.message}` : progressOf(status)
    this.note(device, state, detail)
    this.confirm(device)
  }

  /** A device counts when it says that it is done and that it runs the digest: the one does not follow from the other. */
  private confirm(device: RolloutDevice): void {
    const { digest } = this.rollout.artifact
    if (device.state === 'done' && this.running.get(device.name)?.some(part => digest.startsWith(part)))
      this.note(device, 'succeeded')
    this.advance()
  }

  /** Aborts, ends, or begins the next group, as the devices stand. */
  private advance(): void {
    if (this.over || !this.session?.online) return
    const { terms, state } = this.rollout
    const devices = this.list
    const why = failureOf(devices, terms)
    if (why !== undefined) this.end('aborted', why)
    else if (devices.every(device => isOver(device.state))) this.end('done')
    if (this.over || state !== 'running') return
    const group = groupUnderWay(devices, terms)
    const next = devices.filter(device => device.group <= group && device.state === 'waiting')
    if (next.length > 0) this.time.save()
    for (const device of next) {
      this.note(device, 'offered')
      this.offers.make(device.name)
    }
  }

  /** Whether `work` was done. Where the store fails, it is done again at the next look. */
  private attempt(work: () => void): boolean {
    try {
      work()
      this.failing = false
      return true
    } catch (thrown) {
      const { code, message } = toFaultlineError(thrown)
      if (!this.failing) {
        this.options.logger.error({ code, error: message }, 'the rollout waits for its store')
        this.emit('waiting')
      }
      this.failing = true
      return false
    }
  }

  private look(): void {
    this.time.pass(this.devices.values(), !this.over && this.session?.online === true)
    if (this.over) this.clearOffers()
    if (this.over || this.lookForTurn()) return
    for (const [topic, message] of this.missed) {
      this.receive(message)
      this.missed.delete(topic)
    }
    for (const device of this.devices.values())
      if (isUnderWay(device.state) && device.waitedMs > this.rollout.terms.lostAfterMs)
        this.note(device, 'lost', `was ${device.state}`)
    this.advance()
  }

  /** Takes up what a person did with it; whether it has ended. */
  private lookForTurn(): boolean {
    const { state } = this.options.store.show(this.rollout.id)
    if (!isOpen(state)) {
      this.ended(false)
      return true
    }
    if (state === this.rollout.state && state === 'running') return false
    if (state === 'paused') this.withhold()
    if (state !== this.rollout.state) {
      this.rollout = this.options.store.show(this.rollout.id)
      this.emit('turned', this.rollout)
    }
    return false
  }

  /** What stands for devices that are away is withdrawn; they have not begun. Those that are here may be just about to. */
  private withhold(): void {
    const isSettled = this.session?.online === true && performance.now() - this.onlineAt > settleMs
    for (const device of this.devices.values()) {
      const { name, state } = device
      if (state !== 'offered' || !(this.away.has(name) || (isSettled && !this.running.has(name)))) continue
      this.note(device, 'waiting')
      this.offers.withdraw(name)
    }
  }

  private end(state: 'done' | 'aborted', reason?: string): void {
    this.ended(this.options.store.end(this.rollout.id, state, reason))
  }

  private ended(byItself: boolean): void {
    if (this.over) return
    const { store, id } = this.options
    this.clearOffers()
    for (const device of store.devices(id)) this.devices.set(device.name, device)
    this.rollout = store.show(id)
    this.over = true
    this.emit('ended', this.rollout, byItself)
  }

  /** Until the broker has acknowledged it, and after a restart again: a device must not find what was withdrawn. */
  private clearOffers(): void {
    const { store, id, logger } = this.options
    this.clearing ??= this.offers.withdrawAll(store).then(
      () => {
        if (this.attempt(() => store.clear(id))) this.emit('cleared')
        else this.clearing = undefined
      },
      thrown => {
        this.clearing = undefined
        logger.warn({ error: toFaultlineError(thrown).message }, 'withdrawing offers failed')
      },
    )
  }

  private note(device: RolloutDevice, state: DeviceRolloutState, detail?: string): void {
    if (device.state === state && device.detail === detail) return
    const { store, id } = this.options
    store.note(id, device.name, state, detail)
    device.state = state
    device.changedAt = new Date().toISOString()
    if (state === 'offered') device.offeredAt ??= device.changedAt
    if (detail === undefined) delete device.detail
    else device.detail = detail
    this.emit('device', device)
  }
}
