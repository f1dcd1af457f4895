import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Random } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { MortalBroker } from '../support/mortal-broker.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { SmallDisk } from '../support/small-disk.ts'
import type { SoakReport } from './report.ts'
import { Traffic } from './traffic.ts'

export interface SoakSettings {
  kills: number
  seed: number
  /** Ends the kills early. */
  maxMs: number
  /** What has not arrived when nothing has for so long, with nothing killed any more, is lost. */
  quietMs: number
  /** Two brokers over one Redis, of which one is killed at a time, in place of one with a store. */
  cluster: boolean
  /** Has every tenth kill of a cluster be one of its Redis. */
  killRedis?: boolean
  /** A store in memory, to see that what a broker forgets is noticed. */
  memory: boolean
  signal?: AbortSignal
  /** Called after each kill. */
  progress?(kills: number, acknowledged: number): void
}

const diskBytes = 1_073_741_824
/** The fifth of ten kills is with a full disk or of the Redis; a tenth of the others may be before the broker listens. */
const specialEvery = 10
const specialAt = 4
const earlyShare = 0.1
/** How long a broker lives once it acknowledges, and how long it may take to. */
const lifeMs = { min: 50, max: 1_600 }
const maxIdleMs = 30_000
/** How long copies may follow what has arrived. */
const lingerMs = 2_000
const pollMs = 20

/** Kills brokers under load, at random moments, and says what became of what they had acknowledged. */
export class Soak {
  private readonly settings: SoakSettings
  private readonly random: Random
  private readonly cleanups: (() => unknown)[] = []
  private brokers: MortalBroker[] = []
  private disk: SmallDisk | undefined
  private redis: TestRedis | undefined
  /** A full disk may end a broker. */
  private mayEnd = false
  private failure: Error | undefined
  private readonly stopping = new AbortController()
  private kills = 0
  private killsWithFullDisk = 0
  private killsOfRedis = 0

  constructor(settings: SoakSettings) {
    this.settings = settings
    this.random = new Random(settings.seed)
    settings.signal?.addEventListener('abort', () => this.stopping.abort())
  }

  /** Rejects when the broker does not come up, or refuses what it has to take. */
  async run(): Promise<SoakReport> {
    const began = performance.now()
    try {
      const traffic = await this.prepare()
      this.watch()
      await traffic.during(() => this.killAll(began, traffic), this.stopping)
      if (this.failure) throw this.failure
      return {
        seed: this.settings.seed,
        kills: this.kills,
        killsWithFullDisk: this.killsWithFullDisk,
        killsOfRedis: this.killsOfRedis,
        seconds: (performance.now() - began) / 1_000,
        kinds: traffic.report(),
      }
    } finally {
      for (const clean of this.cleanups.reverse()) await clean()
    }
  }

  /** As of a test: called when the soak is over. */
  after(clean: () => unknown): void {
    this.cleanups.push(clean)
  }

  private async prepare(): Promise<Traffic> {
    const { cluster, memory, seed } = this.settings
    const directory = await mkdtemp(join(tmpdir(), 'faultline-soak-'))
    this.after(() => rm(directory, { recursive: true, force: true, maxRetries: 3 }))
    const stores = join(directory, 'store')
    await mkdir(stores)
    const traffic = new Traffic(seed, () => this.pick(this.brokers).port)
    const registry = join(directory, 'registry.db')
    await traffic.enroll(registry)
    // Only what it may forget is looked for, so no bound may be reached.
    const limits = { queuedMessages: 1_000_000, queuedBytes: 1e10, messagesPerSecond: 1_000_000 }
    const common = { host: '127.0.0.1', registry, limits }
    if (cluster) {
      this.redis = await startRedis(this, { durable: true })
      const entries = { ...common, redis: this.redis.url }
      this.brokers = ['one', 'other'].map(name => new MortalBroker(this, directory, entries, name))
    } else {
      if (!memory) this.disk = SmallDisk.mount(stores, diskBytes)
      if (this.disk) this.after(() => this.disk!.unmount())
      const store = memory ? ':memory:' : join(stores, 'broker.db')
      this.brokers = [new MortalBroker(this, directory, { ...common, store })]
    }
    await Promise.all(this.brokers.map(broker => broker.start()))
    return traffic
  }

  /** Stops when a broker ends that was not killed. */
  private watch(): void {
    for (const broker of this.brokers) {
      broker.on('ended', output => {
        if (this.mayEnd) return
        const lastLines = output.trimEnd().split('\n').slice(-10).join('\n')
        this.failure ??= new FaultlineError('INTERNAL', `a broker ended by itself:\n${lastLines}`)
        this.stopping.abort()
      })
    }
  }

  private async killAll(began: number, traffic: Traffic): Promise<void> {
    const { kills, maxMs, progress } = this.settings
    const { signal } = this.stopping
    while (this.kills < kills && performance.now() - began < maxMs && !signal.aborted) {
      const broker = this.pick(this.brokers)
      const isSpecial = this.kills % specialEvery === specialAt
      if (this.disk && isSpecial) await this.killWithFullDisk(broker, traffic, this.disk)
      else if (this.redis && isSpecial && this.settings.killRedis) await this.killRedis(this.redis, broker, traffic)
      else await this.kill(broker, traffic)
      this.kills++
      progress?.(this.kills, traffic.acknowledged)
    }
    traffic.finish()
    for (const broker of this.brokers) await this.restore(broker)
    await this.settle(traffic)
    await delay(lingerMs)
  }

  private async kill(broker: MortalBroker, traffic: Traffic): Promise<void> {
    if (this.random.uniform() < earlyShare) await delay(this.between(0, lifeMs.max))
    else await this.live(broker, traffic, lifeMs.max)
    await broker.kill()
    await broker.spawn()
  }

  /** Full before the kill, and while the broker starts: it may end by itself then, and is started again. */
  private async killWithFullDisk(broker: MortalBroker, traffic: Traffic, disk: SmallDisk): Promise<void> {
    await this.live(broker, traffic, lifeMs.max / 2)
    this.mayEnd = true
    disk.fill()
    await delay(this.between(0, lifeMs.max / 2))
    await broker.kill()
    await broker.spawn()
    await delay(this.between(0, lifeMs.max))
    disk.resize(diskBytes)
    this.killsWithFullDisk++
  }

  private async killRedis(redis: TestRedis, broker: MortalBroker, traffic: Traffic): Promise<void> {
    await this.live(broker, traffic, lifeMs.max)
    // A broker that is starting ends without its Redis, and is started again.
    this.mayEnd = true
    await redis.kill()
    await delay(this.between(0, lifeMs.max))
    await redis.restart()
    for (const one of this.brokers) await this.revive(one)
    this.mayEnd = false
    this.killsOfRedis++
  }

  /** Resolves at a random moment while the broker takes messages. */
  private async live(broker: MortalBroker, traffic: Traffic, maxMs: number): Promise<void> {
    await this.restore(broker)
    const before = traffic.acknowledged
    const until = performance.now() + maxIdleMs
    while (traffic.acknowledged === before && performance.now() < until) await delay(pollMs)
    await delay(this.between(lifeMs.min, maxMs))
  }

  /** Resolves once it listens, started again where it has ended by itself. */
  private async restore(broker: MortalBroker): Promise<void> {
    await this.revive(broker)
    this.mayEnd = false
  }

  private async revive(broker: MortalBroker): Promise<void> {
    const listens = await broker.listening().then(
      () => true,
      () => false,
    )
    if (!listens) await broker.start()
  }

  /** Resolves when all has arrived, or nothing arrives any more. */
  private async settle(traffic: Traffic): Promise<void> {
    const { quietMs } = this.settings
    let delivered = traffic.delivered
    let until = performance.now() + quietMs
    while (!traffic.settled && performance.now() < until && !this.stopping.signal.aborted) {
      await delay(200)
      if (traffic.delivered === delivered) continue
      delivered = traffic.delivered
      until = performance.now() + quietMs
    }
  }

  private between(min: number, max: number): number {
    return min + this.random.uniform() * (max - min)
  }

  private pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.random.uniform() * list.length)]!
  }
}
