import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { encodeWindow, identityOf, newId, topicFilter } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { Escalations } from '../../device-agent/decisions/escalations.ts'
import { type BrokerAccess, startAgentBroker } from '../support/agent-broker.ts'
import { device, point, site } from '../support/edge.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { type RunningProgram, startScript } from '../support/processes.ts'
import { missing } from '../support/programs.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { queued } from './fake-host.ts'

const deadlineMs = 3_000

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
    this.timer = setInterval(() => this.escalate(), 10)
  }

  /** Resolves at the next verdict of an agent. */
  async heard(agent: string): Promise<void> {
    await once(this.events, `agent ${agent}`, { signal: AbortSignal.timeout(60_000) })
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
    void this.session.publish({ kind: 'escalation', site, device, point }, { ...escalation, id, window, shaftHz: 29.5 })
  }

  private end(id: string, outcome: string): void {
    this.ends.get(id)!.push(outcome)
  }
}

const window = encodeWindow({
  samples: Float32Array.from({ length: 2_048 }, (_, i) => Math.sin(i)),
  shape: [2_048],
  rateHz: 12_000,
})

async function startAgent(t: TestContext, { url, secret }: BrokerAccess, server: string): Promise<RunningProgram> {
  const file = join(await temporaryDirectory(t), 'server.yaml')
  const settings = { server, broker: { url, secret }, models: ['models/bearing-server'], engine: 'onnx', workers: 1 }
  await writeFile(file, JSON.stringify(settings))
  return startScript(t, 'server-agent/main.ts', ['--config', file])
}

const brokers: Record<string, (t: TestContext) => Promise<BrokerAccess>> = {
  'our broker': startAgentBroker,
  Mosquitto: startMosquitto,
}

for (const [name, startBroker] of Object.entries(brokers)) {
  const skip = name === 'Mosquitto' && missing('mosquitto')
  test(`under load over ${name}, agents join, leave and are killed: one verdict each, and nothing hangs`, {
    skip,
  }, async t => {
    const broker = await startBroker(t)
    const load = new Load(broker)
    t.after(() => load.stop())
    const agents = await Promise.all(['server-1', 'server-2'].map(server => startAgent(t, broker, server)))
    await Promise.all(agents.map(agent => agent.said(/connected to the broker/, 120_000)))
    await load.start()
    await Promise.all([load.heard('server-1'), load.heard('server-2')])
    // One joins.
    const third = await startAgent(t, broker, 'server-3')
    await load.heard('server-3')
    // One is told to leave, and finishes what it has.
    const beforeLeaving = new Set(load.ends.keys())
    assert.equal(await agents[0]!.stop(), 0, agents[0]!.output)
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
    assert.ok(!lost.some(id => beforeLeaving.has(id)), 'the one that left lost nothing')
  })
}
