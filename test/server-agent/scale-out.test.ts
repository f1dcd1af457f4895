import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Classifier } from '@faultline/inference'
import { encodeWindow, identityOf, newId, topicFilter } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { Escalations } from '../../device-agent/decisions/escalations.ts'
import { type BrokerAccess, startAgentBroker } from '../support/agent-broker.ts'
import { device, point, site, startServer } from '../support/edge.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { type RunningProgram, startScript } from '../support/processes.ts'
import { missing } from '../support/programs.ts'
import { startRedis } from '../support/redis.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { queued } from './fake-host.ts'

const deadlineMs = 10_000

/** A device under load: it escalates at a steady rate, and each of its windows ends in one of the ways there are. */
class Load {
  readonly ends = new Map<string, string[]>()
  private readonly session: MqttSession
  private readonly events = new EventEmitter()
  private readonly escalations = new Escalations<string>({
    settled: (id, { outcome }) => this.end(id, outcome),
    revised: () => {},
  })
  private timer: NodeJS.Timeout | undefined

  constructor({ url, secret }: BrokerAccess) {
    this.session = new MqttSession({
      url,
      secret,
      identity: identityOf('device', site, device),
      subscriptions: [topicFilter('verdict', { site, device })],
      onMessage: message => {
        if (message.kind !== 'verdict') return
        const { payload } = message
        this.events.emit(`agent ${payload.agent}`)
        this.escalations.receive(point, payload)
      },
      logger: silentLogger,
    })
  }

  async start(): Promise<void> {
    await this.session.start()
    await this.session.whenOnline(AbortSignal.timeout(20_000))
    this.timer = setInterval(() => this.escalate(), 20)
  }

  /** Resolves at the next verdict of an agent. */
  async heard(agent: string): Promise<void> {
    await once(this.events, `agent ${agent}`, { signal: AbortSignal.timeout(60_000) })
  }

  /** Resolves once all of these have ended. */
  async ended(ids: readonly string[]): Promise<void> {
    const signal = AbortSignal.timeout(60_000)
    while (ids.some(id => this.ends.get(id)!.length === 0)) await once(this.events, 'end', { signal })
  }

  /** Escalates no more, and waits until everything has ended. */
  async finish(): Promise<void> {
    clearInterval(this.timer)
    await this.escalations.idle(2 * deadlineMs)
  }

  async stop(): Promise<void> {
    clearInterval(this.timer)
    await this.session.stop()
  }

  private escalate(): void {
    const { escalation } = queued({ patienceMs: deadlineMs })
    const id = newId()
    this.ends.set(id, [])
    this.escalations.add(id, point, id, deadlineMs)
    const address = { kind: 'escalation', site, device, point } as const
    // One that is withdrawn at the end rejects.
    this.session.publish(address, { ...escalation, id, window, shaftHz: 29.5 }).catch(() => {})
  }

  private end(id: string, outcome: string): void {
    this.ends.get(id)!.push(outcome)
    this.events.emit('end')
  }
}

const window = encodeWindow({
  samples: Float32Array.from({ length: 2_048 }, (_, i) => Math.sin(i)),
  shape: [2_048],
  rateHz: 12_000,
})

/** An agent that can be killed: a process of its own. */
async function startProcess(t: TestContext, { url, secret }: BrokerAccess, server: string): Promise<RunningProgram> {
  const file = join(await temporaryDirectory(t), 'server.yaml')
  const settings = { server, broker: { url, secret }, models: ['models/bearing-server'], engine: 'onnx', workers: 1 }
  await writeFile(file, JSON.stringify(settings))
  return startScript(t, 'server-agent/main.ts', ['--config', file])
}

/** Two that share a Redis: devices are at the one, agents at either. */
async function startCluster(t: TestContext): Promise<BrokerAccess[]> {
  const { url: redis } = await startRedis(t)
  return [await startAgentBroker(t, { redis }), await startAgentBroker(t, { redis })]
}

interface Kind {
  /** Where the load goes, and where the agents are, in turn. */
  start(t: TestContext): Promise<BrokerAccess[]>
  skip: false | string
}

const brokers: Record<string, Kind> = {
  'our broker': { start: async t => [await startAgentBroker(t)], skip: false },
  'two of our brokers over a Redis': { start: startCluster, skip: missing('redis-server') },
  Mosquitto: { start: async t => [await startMosquitto(t)], skip: missing('mosquitto') },
}

for (const [name, { start, skip }] of Object.entries(brokers)) {
  test(`under load over ${name}, agents join, leave and are killed: one verdict each, and nothing hangs`, {
    skip,
  }, async t => {
    const started = await start(t)
    const [first, last] = [started[0]!, started.at(-1)!]
    const load = new Load(first)
    t.after(() => load.stop())
    const model = await Classifier.load('models/bearing-server', { engine: 'onnx' })
    t.after(() => model.dispose())
    const classifiers = new Map([[model.task, model]])
    const leaver = await startServer(t, first, { server: 'server-1', classifiers })
    await startServer(t, last, { server: 'server-2', classifiers })
    await load.start()
    await Promise.all([load.heard('server-1'), load.heard('server-2')])
    // One joins.
    const third = await startProcess(t, last, 'server-3')
    await load.heard('server-3')
    // One is told to leave, and finishes what it has.
    const beforeLeaving = [...load.ends.keys()]
    await leaver.stop()
    await load.ended(beforeLeaving)
    // One is killed.
    third.child.kill('SIGKILL')
    await third.exited
    // The last one goes on alone.
    await load.heard('server-2')
    await delay(200)
    await load.finish()

    const outcomes = [...load.ends.values()]
    assert.ok(outcomes.length > 100, `${outcomes.length} escalations are no load`)
    assert.ok(
      outcomes.every(each => each.length === 1),
      'each escalation ends once',
    )
    const ended = (wanted: string) => [...load.ends].filter(([, [outcome]]) => outcome === wanted).map(([id]) => id)
    assert.equal(ended('answered').length + ended('late').length, outcomes.length, 'none is rejected')
    // Only the agent that was killed took anything with it: what it had at that moment, or was sent until the broker knew.
    const lost = ended('late')
    assert.ok(lost.length < 50, `${lost.length} of ${outcomes.length} were lost`)
    assert.ok(!lost.some(id => beforeLeaving.includes(id)), 'the one that left lost nothing')
  })
}
