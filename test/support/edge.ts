import { EventEmitter, once } from 'node:events'
import type { TestContext } from 'node:test'
import { type AgentPoint, DeviceAgent, type DeviceAgentOptions, type InferenceEvent } from '@faultline/device-agent'
import { identityOf, type RuntimeConfig } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { InProcessHost, ServerAgent, type ServerAgentOptions, type ServerModel } from '@faultline/server-agent'
import type { BrokerAccess } from './agent-broker.ts'
import { ManualSource } from './manual-source.ts'
import type { Observer } from './observer.ts'
import { temporaryDirectory } from './temp.ts'
import { TinyServerModel, tinyLocalModel } from './tiny-models.ts'

export const site = 'plant-a'
export const device = 'pi-1'
export const point = 'motor-de'
export const machine = 'press-3'

const backOff = { initialMs: 20, maximumMs: 50 }

/** A device agent with one point whose windows a test gives by hand. */
export class TestDevice {
  readonly source = new ManualSource()
  readonly inferences: InferenceEvent[] = []
  readonly agent: DeviceAgent
  private readonly events = new EventEmitter()

  constructor(options: Omit<DeviceAgentOptions, 'points'>, more: Partial<AgentPoint> = {}) {
    this.agent = new DeviceAgent({ ...options, points: [{ point, machine, source: this.source, ...more }] })
    this.agent.on('inference', event => {
      this.inferences.push(event)
      this.events.emit('inference')
    })
  }

  get counters() {
    return this.agent.health!.counters
  }

  /** The inferences, once there are so many. */
  async inferred(count: number): Promise<InferenceEvent['inference'][]> {
    const signal = AbortSignal.timeout(20_000)
    while (this.inferences.length < count) {
      await once(this.events, 'inference', { signal }).catch(() => {
        throw new Error(`${this.inferences.length} of ${count} inferences: ${JSON.stringify(this.inferences)}`)
      })
    }
    return this.inferences.map(({ inference }) => inference)
  }

  /** Gives windows, one after the other is decided upon, and the inferences they end in. */
  async infer(...firsts: number[]): Promise<InferenceEvent['inference'][]> {
    const before = this.inferences.length
    this.source.give(...firsts)
    return (await this.inferred(before + firsts.length)).slice(before)
  }

  /** What an operator does, done when the device says so. */
  async configure(operator: Observer, config: RuntimeConfig): Promise<void> {
    const configured = once(this.agent, 'configured', { signal: AbortSignal.timeout(20_000) })
    const revision = this.agent.configuration!.revision + 1
    await operator.session.publish({ kind: 'config-desired', site, device }, { revision, config })
    await configured
  }

  async online(): Promise<void> {
    if (!this.agent.online) await once(this.agent, 'online', { signal: AbortSignal.timeout(20_000) })
  }

  async offline(): Promise<void> {
    if (this.agent.online) await once(this.agent, 'offline', { signal: AbortSignal.timeout(20_000) })
  }
}

export async function startDevice(
  t: Pick<TestContext, 'after'>,
  broker: BrokerAccess,
  options: Partial<DeviceAgentOptions> = {},
  more: Partial<AgentPoint> = {},
): Promise<TestDevice> {
  const device = new TestDevice(await deviceOptions(t, broker, options), more)
  t.after(() => device.agent.stop())
  await device.agent.start()
  return device
}

async function deviceOptions(
  t: Pick<TestContext, 'after'>,
  broker: BrokerAccess,
  options: Partial<DeviceAgentOptions>,
): Promise<Omit<DeviceAgentOptions, 'points'>> {
  return {
    site,
    device,
    broker: { url: broker.url, secret: broker.secret, backOff },
    classifier: tinyLocalModel,
    policy: { name: 'threshold', parameters: { threshold: 0.8 } },
    price: 0.2,
    prices: null,
    budget: null,
    auditRate: 0,
    episodes: 'off',
    deadlineMs: 5_000,
    reporting: 'every',
    summaryIntervalS: 3_600,
    healthIntervalS: 3_600,
    dataDirectory: options.dataDirectory ?? (await temporaryDirectory(t)),
    seed: 1,
    logger: silentLogger,
    ...options,
  }
}

/** A server agent that is connected. Models of `classifiers` run in this process. */
export async function startServer(
  t: Pick<TestContext, 'after'>,
  broker: BrokerAccess,
  { classifiers, ...options }: Partial<ServerAgentOptions> & { classifiers?: ReadonlyMap<string, ServerModel> } = {},
): Promise<ServerAgent> {
  const agent = new ServerAgent({
    server: 'server-1',
    broker: { url: broker.url, secret: broker.secret, backOff },
    host: new InProcessHost([...(classifiers?.values() ?? [new TinyServerModel()])]),
    logger: silentLogger,
    ...options,
  })
  t.after(() => agent.stop())
  const online = once(agent, 'online', { signal: AbortSignal.timeout(20_000) })
  await agent.start()
  await online
  return agent
}

/** Speaks as a server agent, and says whatever a test wants. */
export async function startVoice(t: Pick<TestContext, 'after'>, broker: BrokerAccess): Promise<MqttSession> {
  const session = new MqttSession({
    url: broker.url,
    secret: broker.secret,
    identity: identityOf('server', 'voice'),
    subscriptions: [],
    logger: silentLogger,
  })
  t.after(() => session.stop())
  await session.start()
  await session.whenOnline(AbortSignal.timeout(20_000))
  return session
}
