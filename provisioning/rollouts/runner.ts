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
import { type DeviceRolloutState, hasFailed, isOver } from './states.ts'
import type { Rollout, RolloutDevice, RolloutStore } from './store.ts'
import { type OfferAddress, offerAddress, withdrawOffers } from './withdrawal.ts'

export interface RolloutRunnerOptions {
  id: string
  store: RolloutStore
  /** Where archives lie. */
  artifacts: string
  broker: BrokerAccess & { backOff?: { initialMs: number; maximumMs: number } }
  identity: Identity
  logger: Logger
}

interface RunnerEvents {
  /** A device got further. */
  device: [device: RolloutDevice]
  ended: [rollout: Rollout]
  /** The store fails; it is tried again. */
  waiting: []
  /** The broker does not let it in: nothing will come of waiting. */
  error: [error: FaultlineError]
}

/** How often it looks whether somebody stopped the rollout, or a device is lost. */
const lookMs = 1_000

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
  private timer: NodeJS.Timeout | undefined
  private over = false
  /** Messages that met a store that failed, by topic: the newest is what counts. */
  private readonly missed = new Map<string, Message>()
  private failing = false

  constructor(options: RolloutRunnerOptions) {
    super()
    this.options = options
  }

  /** Throws `ROLLOUT_UNKNOWN`, and what a session throws. */
  async start(): Promise<void> {
    const { id, store, artifacts, broker, identity, logger } = this.options
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
    await this.chunks?.stop()
    await this.session?.stop()
  }

  /** Connected once at least. */
  async whenOnline(signal?: AbortSignal): Promise<void> {
    await this.session?.whenOnline(signal)
  }

  /** As they stand. */
  get list(): RolloutDevice[] {
    return [...this.devices.values()]
  }

  /** Of the group that is under way: the first that has not got far enough for the next. */
  get group(): number {
    const last = Math.max(...this.list.map(({ group }) => group))
    for (let group = 0; group < last; group++) if (!this.mayAdvance(group)) return group
    return last
  }

  private connected(): void {
    if (this.over || this.lookForEnd()) return
    // A broker may have lost what is retained; a device passes over what it knows.
    for (const device of this.devices.values())
      if (device.state !== 'waiting' && !isOver(device.state)) this.publishOffer(device)
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
    if (!state.online) return
    const { kind } = this.rollout.artifact
    const digests =
      kind === 'bundle' ? state.models.map(({ digest }) => digest) : state.agentDigest ? [state.agentDigest] : []
    this.running.set(device.name, digests)
    this.confirm(device)
  }

  private heardStatus(device: RolloutDevice, { id, state, error, ...status }: UpdateStatus): void {
    if (id !== this.rollout.id || device.state === 'waiting' || device.state === 'succeeded') return
    if (device.state === 'lost' && state !== 'done') return
    // A state that a later version added is a step on the way, as what this one knows of the device still holds.
    if (state === 'other') return
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

  /** Stops, ends, or begins the next group, as the devices stand. */
  private advance(): void {
    if (this.over || !this.session?.online) return
    const why = this.failure()
    if (why !== undefined) {
      this.end('aborted', why)
      return
    }
    const devices = this.list
    if (devices.every(({ state }) => isOver(state))) {
      this.end('done')
      return
    }
    const { group } = this
    for (const device of devices)
      if (device.group <= group && device.state === 'waiting') {
        this.note(device, 'offered')
        this.publishOffer(device)
      }
  }

  /** Why the rollout must not go on; undefined while it may. */
  private failure(): string | undefined {
    const { maxFailures } = this.rollout.terms
    const failed = this.list.filter(({ state }) => hasFailed(state))
    if ('count' in maxFailures)
      return failed.length > maxFailures.count
        ? `${failed.length} devices failed, at most ${maxFailures.count} may`
        : undefined
    for (const group of new Set(failed.map(device => device.group))) {
      const size = this.sizeOf(group)
      const count = failed.filter(device => device.group === group).length
      if ((count / size) * 100 > maxFailures.percent)
        return `${count} of ${size} devices of group ${group + 1} failed, at most ${maxFailures.percent} % may`
    }
    return undefined
  }

  private mayAdvance(group: number): boolean {
    const states = this.list.filter(device => device.group === group).map(({ state }) => state)
    const succeeded = states.filter(state => state === 'succeeded').length
    return states.every(isOver) || (succeeded / states.length) * 100 >= this.rollout.terms.advanceAt
  }

  private sizeOf(group: number): number {
    return this.list.filter(device => device.group === group).length
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
    if (this.over || this.lookForEnd()) return
    for (const [topic, message] of this.missed) {
      this.receive(message)
      this.missed.delete(topic)
    }
    const { lostAfterMs } = this.rollout.terms
    for (const device of this.devices.values()) {
      const { offeredAt, state } = device
      if (offeredAt !== undefined && !isOver(state) && Date.now() - Date.parse(offeredAt) > lostAfterMs)
        this.note(device, 'lost', `was ${state}`)
    }
    this.advance()
  }

  /** Whether somebody else has ended it. */
  private lookForEnd(): boolean {
    if (this.options.store.show(this.rollout.id).state === 'running') return false
    this.ended()
    return true
  }

  private end(state: 'done' | 'aborted', reason?: string): void {
    this.options.store.end(this.rollout.id, state, reason)
    this.ended()
  }

  private ended(): void {
    if (this.over) return
    const { store, id } = this.options
    withdrawOffers(id, store, address => this.clear(address))
    for (const device of store.devices(id)) this.devices.set(device.name, device)
    const rollout = store.show(id)
    this.over = true
    this.emit('ended', rollout)
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

  private publishOffer({ name }: RolloutDevice): void {
    const { artifact, id, terms } = this.rollout
    const offer = { ...artifact, id, probation: terms.probation }
    this.session?.publish(offerAddress(name), offer).catch(this.unsent)
  }

  private clear(address: OfferAddress): void {
    this.session?.publishRaw(address, Buffer.alloc(0)).catch(this.unsent)
  }

  private readonly unsent = (thrown: unknown): void => {
    this.options.logger.warn({ error: toFaultlineError(thrown).message }, 'not published')
  }
}

function progressOf({ received, bytes, probation }: Partial<UpdateStatus>): string | undefined {
  if (received !== undefined && bytes !== undefined) return `${Math.floor((received / bytes) * 100)} %`
  if (probation) return `${probation.windows} windows, ${probation.wrong} of ${probation.audits} audits contradicted`
  return undefined
}
