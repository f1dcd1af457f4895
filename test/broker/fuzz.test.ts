import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { connect as connectSocket } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Random } from '@faultline/inference'
import type { Identity } from '@faultline/protocol'
import mqtt, { type MqttClient } from 'mqtt'
import { generate, parser } from 'mqtt-packet'
import { below, pick } from '../support/mutations.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { rounds } from '../support/thorough.ts'
import type { Standing } from './fuzzed-broker.ts'
import { connected, escalationOf, escalations, press, server } from './harness.ts'
import { connectOf, HostilePackets, type Login } from './hostile-packets.ts'

const total = rounds(100_000)
const seed = 20_260
const attackers = 16
const secret = 'a-secret-of-the-tests'

/** Longest that a message between honest clients may take, with a machine that does other things too in mind. */
const delayBoundMs = 30_000
/** What the heap may grow over the last four fifths of the run: 80,000 packets, so 50 bytes for each. */
const growthBoundBytes = 4_000_000

test(`${total.toLocaleString('en')} mutated packets leave the broker up, others served and memory flat`, async t => {
  const broker = await startFuzzedBroker(t)
  const honest = await HonestPair.start(t, broker.port)
  const rest = await broker.standing()
  const attack = new Attack(broker.port)
  const attacking = (async () => {
    await attack.send(total / 5)
    const early = await broker.quiet()
    await attack.send(total)
    return early
  })()
  const early = await Promise.race([attacking, broker.death(() => attack.evidence()), honest.trouble])
  const late = await broker.quiet()
  await honest.stop()

  t.diagnostic(
    `${attack.sent} packets over ${attack.connections} connections; the broker read ${late.packets} packets and ended ` +
      `${late.malformed} streams as malformed; honest messages: ${honest.received}, the slowest ${Math.round(honest.slowestMs)} ms; ` +
      `heap ${mega(early)} MB early, ${mega(late)} MB late; ${late.processorS.toFixed(1)} s of processor in the broker`,
  )
  assert.ok(attack.sent >= total)
  // Most of what was sent was looked at, and not just ignored behind something that ended the connection.
  assert.ok(late.packets + late.malformed > total / 2, `only ${late.packets + late.malformed} packets were read`)
  assert.ok(honest.received > 100, `only ${honest.received} honest messages`)
  assert.ok(honest.slowestMs < delayBoundMs, `an honest message took ${honest.slowestMs} ms`)
  assert.ok(
    late.heapBytes - early.heapBytes < growthBoundBytes,
    `the heap grew from ${mega(early)} to ${mega(late)} MB`,
  )
  assert.ok(late.externalBytes - early.externalBytes < growthBoundBytes, 'memory outside the heap grew')
  // Nothing but the honest pair is left, and nothing waits for those who have gone.
  assert.deepEqual([late.connected, late.clients, late.sockets], [2, 2, rest.sockets])
  assert.ok(late.timers <= rest.timers + 2, `${late.timers} timers run, ${rest.timers} before`)
})

const mega = ({ heapBytes }: Standing) => (heapBytes / 1e6).toFixed(1)

async function startFuzzedBroker(t: TestContext) {
  const store = join(await temporaryDirectory(t), 'broker.db')
  const child: ChildProcess = fork(join(import.meta.dirname, 'fuzzed-broker.ts'), [store, secret], {
    execArgv: ['--import', import.meta.resolve('tsx'), '--expose-gc', '--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let words = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    words += text
  })
  const exited = once(child, 'close')
  t.after(async () => {
    child.kill('SIGKILL')
    await exited
  })
  const answer = async <T>() => (await once(child, 'message', { signal: AbortSignal.timeout(60_000) }))[0] as T
  const port = await answer<number>()
  const standing = (): Promise<Standing> => {
    child.send('standing')
    return answer<Standing>()
  }
  return {
    port,
    standing,
    /** Its standing once all but two connections are gone. */
    async quiet(): Promise<Standing> {
      for (const deadline = performance.now() + 30_000; ; ) {
        const found = await standing()
        if (found.connected === 2 || performance.now() > deadline) return found
        await new Promise(resolve => setTimeout(resolve, 50))
      }
    },
    /** Rejects when the process ends. */
    death: async (evidence: () => string): Promise<never> => {
      const [code, signal] = await exited
      throw new Error(`the broker ended with ${signal ?? code}:\n${words.slice(-4_000)}\n${evidence()}`)
    },
  }
}

/** Connections that send mutated packets, some at a time, each decided by its number and the seed alone. */
class Attack {
  sent = 0
  connections = 0
  private readonly port: number
  private readonly open = new Map<number, Buffer[]>()

  constructor(port: number) {
    this.port = port
  }

  /** Resolves when so many packets were sent since the beginning, and their connections have ended. */
  async send(packets: number): Promise<void> {
    await Promise.all(
      Array.from({ length: attackers }, async (_, i) => {
        const name = `devices/plant-a/hostile-${i}`
        const login = { name, secret }
        const hostile = new HostilePackets(login)
        while (this.sent < packets) await this.connect(login, hostile)
      }),
    )
  }

  /** What was on its way, to be sent again by hand. */
  evidence(): string {
    const lines = [...this.open].map(
      ([n, written]) => `${n}: ${written.map(bytes => bytes.toString('base64')).join(' ')}`,
    )
    return `seed ${seed}; open connections and what they sent, in base64:\n${lines.join('\n')}`.slice(0, 100_000)
  }

  /** One connection: logged in or not, some packets at once, and its end, in one of several ways. */
  private async connect(login: Login, hostile: HostilePackets): Promise<void> {
    const number = ++this.connections
    const random = new Random(seed * 2 ** 32 + number)
    const socket = connectSocket(this.port, '127.0.0.1')
    const closed = once(socket, 'close').catch(() => {})
    socket.on('error', () => {}) // The broker ends it.
    const written: Buffer[] = []
    this.open.set(number, written)
    const answers = parser()
    socket.on('data', bytes => answers.parse(bytes))
    let heard = (_: string) => {}
    answers.on('packet', ({ cmd }) => heard(cmd))
    /** Resolves when the broker has answered so, or will answer no more. */
    const answered = (wanted: string) =>
      Promise.race([
        closed,
        new Promise<void>(resolve => {
          heard = cmd => cmd === wanted && resolve()
        }),
      ])
    if (random.uniform() < 0.9) {
      socket.write(generate(connectOf(login)))
      await answered('connack')
    }
    // Reads along, to know whether the broker gets as far as the ping or waits for the rest of a packet.
    const reader = parser()
    let last: string | undefined
    reader.on('packet', ({ cmd }) => {
      last = cmd
    })
    reader.on('error', () => {})
    while (!socket.closed && written.length < 200) {
      const batch = Array.from({ length: 1 + below(random, 8) }, () => hostile.next(random))
      written.push(...batch)
      this.sent += batch.length
      const bytes = Buffer.concat([...batch, ping])
      last = undefined
      reader.parse(bytes)
      socket.write(bytes)
      if (last !== 'pingreq') break
      await answered('pingresp')
    }
    const ending = pick(random, ['end', 'destroySoon', 'resetAndDestroy'] as const)
    socket[ending]()
    await closed
    this.open.delete(number)
  }
}

const ping = Buffer.from(generate({ cmd: 'pingreq' }))

/** A device that counts at QoS 1, and a server that has to hear every number, once and in time. */
class HonestPair {
  received = 0
  slowestMs = 0
  /** Rejects when a message is out of turn. */
  readonly trouble: Promise<never>
  private readonly sentAt: number[] = []
  private running = true
  private sending: Promise<void> | undefined
  private readonly device: MqttClient
  private readonly topic = escalationOf('press-1')

  private constructor(device: MqttClient, agent: MqttClient) {
    this.device = device
    this.trouble = new Promise((_, reject) => {
      for (const client of [device, agent]) client.on('close', () => this.running && reject(new Error('cut off')))
      agent.on('message', (topic, payload) => {
        if (topic !== this.topic) return // It hears the hostile devices, too.
        const number = Number(payload)
        if (number !== this.received) reject(new Error(`message ${number} came in place of ${this.received}`))
        this.slowestMs = Math.max(this.slowestMs, performance.now() - this.sentAt[number]!)
        this.received++
      })
    })
  }

  static async start(t: TestContext, port: number): Promise<HonestPair> {
    const open = async (identity: Identity) => {
      const { name } = identity
      const options = { clientId: name, username: name, password: secret, reconnectPeriod: 0 }
      const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, options)
      t.after(() => client.end(true))
      await connected(client)
      return client
    }
    const device = await open(press)
    const agent = await open(server)
    await agent.subscribeAsync(escalations, { qos: 1 })
    const pair = new HonestPair(device, agent)
    pair.sending = pair.send()
    return pair
  }

  /** Resolves when all was acknowledged and has arrived. */
  async stop(): Promise<void> {
    this.running = false
    await this.sending
    const deadline = performance.now() + delayBoundMs
    while (this.received < this.sentAt.length && performance.now() < deadline) await new Promise(setImmediate)
    assert.equal(this.received, this.sentAt.length, 'messages of the honest device are lost')
  }

  private async send(): Promise<void> {
    while (this.running) {
      const number = this.sentAt.push(performance.now()) - 1
      await this.device.publishAsync(this.topic, String(number), { qos: 1 })
      await new Promise(resolve => setTimeout(resolve, 5))
    }
  }
}
