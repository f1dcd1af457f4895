import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createAuthority, createServerCertificate } from '@faultline/runtime'
import { type Benchmark, type Row, rowOf } from './benchmark.ts'
import type { Load, LoadResult } from './broker-load.ts'

const kinds = ['ours', 'aedes', 'mosquitto'] as const
type Kind = (typeof kinds)[number]

/** What one broker did with one load. */
interface Figure {
  messagesPerS: number
  /** Processor time of the broker for one message. */
  microsPerMessage: number
  /** Of one processor. */
  loadShare: number
}

const shapes = [
  { publishers: 1, subscribers: 1 },
  { publishers: 100, subscribers: 1 },
  { publishers: 1, subscribers: 100 },
]
const sizes = [200, 4_096, 8_192]

/** Ours beside the engine it is made of, which checks and remembers nothing, and beside Mosquitto. */
export const brokerBenchmark: Benchmark = {
  description: 'messages a second through our broker, bare Aedes and Mosquitto; memory of an idle TLS client',
  async run({ quick }) {
    const directory = await mkdtemp(join(tmpdir(), 'faultline-bench-'))
    const notes = [
      'ours: logins, access control, limits and a store in a file; Aedes: none of these, and a store in memory',
      'the ratio is the median over rounds in which the brokers take turns; every broker and the load has its own process',
    ]
    const hosts: Host[] = []
    try {
      for (const kind of kinds) {
        const host = new Host(kind, directory)
        const absent = await host.start().then(
          () => undefined,
          (thrown: Error) => thrown.message,
        )
        if (absent === undefined) hosts.push(host)
        else notes.push(`${kind} is absent: ${absent}`)
      }
      const { rows, highest } = await throughput(hosts, quick)
      notes.push(`the load took at most ${Math.round(100 * highest)} % of a processor`)
      await Promise.all(hosts.splice(0).map(host => host.stop()))
      rows.push(...(await idleMemory(directory, quick ? [20] : [1_000, 10_000], notes)))
      return { rows, notes }
    } finally {
      await Promise.all(hosts.map(host => host.stop()))
      await rm(directory, { recursive: true, force: true })
    }
  },
}

async function throughput(hosts: readonly Host[], quick: boolean): Promise<{ rows: Row[]; highest: number }> {
  const rows: Row[] = []
  let highest = 0
  const rounds = quick ? 1 : 5
  for (const qos of [1, 0] as const) {
    for (const shape of quick ? shapes.slice(0, 1) : shapes) {
      for (const bytes of quick ? sizes.slice(0, 1) : sizes) {
        const messages = quick ? 300 : shape.subscribers > 1 ? 400 : 10_000
        const load: Load = { ...shape, qos, bytes, messages }
        const figures = new Map<Kind, Figure[]>(hosts.map(({ kind }) => [kind, []]))
        // Twice what is measured is what it takes until everything on the way is compiled.
        for (const host of hosts) for (let i = 0; i < 2; i++) await host.measure(load)
        for (let round = 0; round < rounds; round++) {
          // Whoever is first in one round is last in the next.
          for (const host of round % 2 === 0 ? hosts : [...hosts].reverse()) {
            const figure = await host.measure(load)
            figures.get(host.kind)!.push(figure)
            highest = Math.max(highest, figure.loadShare)
          }
        }
        const name = `QoS ${qos}, ${bytes} B, ${shape.publishers} to ${shape.subscribers}`
        rows.push(...compared(name, figures, qos === 1 && shape.publishers > 1))
      }
    }
  }
  return { rows, highest }
}

function compared(name: string, figures: Map<Kind, Figure[]>, isFanIn: boolean): Row[] {
  const ours = figures.get('ours')!
  const rows: Row[] = []
  for (const [kind, theirs] of figures) {
    if (kind === 'ours') continue
    const aim = kind === 'aedes' ? '>= 0.9' : isFanIn ? '>= 1' : undefined
    const pair = (metric: string, read: (figure: Figure) => number, wanted?: string): Row => ({
      ...rowOf(`${name}, ${kind}`, metric, median(ours.map(read)), median(theirs.map(read)), wanted),
      ratio: median(ours.map((figure, round) => read(figure) / read(theirs[round]!))),
    })
    rows.push(pair('messages/s', figure => figure.messagesPerS, aim))
    rows.push(pair('broker µs/message', figure => figure.microsPerMessage))
  }
  return rows
}

/** Memory of a broker for one client that is connected by TLS and says nothing. */
async function idleMemory(directory: string, counts: readonly number[], notes: string[]): Promise<Row[]> {
  const authority = await createAuthority('Benchmark', 1)
  const { certificate, key } = await createServerCertificate(authority, ['127.0.0.1'], 1)
  const tls = { certificate: join(directory, 'server.pem'), key: join(directory, 'server.key') }
  await writeFile(tls.certificate, certificate)
  await writeFile(tls.key, key)
  const figures = new Map<string, number>()
  for (const kind of kinds) {
    const host = new Host(kind, directory, tls)
    let open = 1
    try {
      await host.start()
      await host.idle(1)
      const before = await host.residentKB()
      for (const count of counts) {
        await host.idle(count - open)
        figures.set(`${count} ${kind}`, ((await host.residentKB()) - before) / (count - 1))
        open = count
      }
    } catch (thrown) {
      notes.push(`${kind} had no more than ${open} idle TLS clients: ${(thrown as Error).message}`)
    } finally {
      await host.stop()
    }
  }
  return counts.flatMap(count =>
    kinds.slice(1).flatMap(kind => {
      const ours = figures.get(`${count} ours`)
      return ours === undefined
        ? []
        : [rowOf(`${count} idle TLS clients, ${kind}`, 'kB each', ours, figures.get(`${count} ${kind}`))]
    }),
  )
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!

/** PEM files. */
interface Pair {
  certificate: string
  key: string
}

/** A broker in a process of its own, and a load for it in another. */
class Host {
  readonly kind: Kind
  private readonly directory: string
  private readonly tls: Pair | undefined
  private broker: ChildProcess | undefined
  private load: ChildProcess | undefined

  constructor(kind: Kind, directory: string, tls?: Pair) {
    this.kind = kind
    this.directory = directory
    this.tls = tls
  }

  /** Rejects when there is no such broker on this machine. */
  async start(): Promise<void> {
    const port = this.kind === 'mosquitto' ? await this.startMosquitto() : await this.startOnNode()
    this.load = forkModule('broker-load.ts', [String(port)])
  }

  async stop(): Promise<void> {
    const children = [this.load, this.broker].filter(child => child !== undefined)
    for (const child of children) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill()
      await once(child, 'close')
    }
  }

  async measure(load: Load): Promise<Figure> {
    const before = await this.processorS()
    const { seconds, processorS } = await this.order({ load })
    return {
      messagesPerS: load.messages / seconds,
      microsPerMessage: (((await this.processorS()) - before) / load.messages) * 1e6,
      loadShare: processorS / seconds,
    }
  }

  /** Connects so many more clients that say nothing. */
  async idle(count: number): Promise<void> {
    await this.order({ idle: count })
  }

  async residentKB(): Promise<number> {
    const status = await readFile(`/proc/${this.broker!.pid}/status`, 'utf8')
    return Number(/VmRSS:\s+(\d+)/.exec(status)![1])
  }

  private async order(what: { load: Load } | { idle: number }): Promise<LoadResult> {
    this.load!.send(what)
    const [result] = (await once(this.load!, 'message')) as [LoadResult | { failed: string }]
    if ('failed' in result) throw new Error(`${this.kind}: ${result.failed}`)
    return result
  }

  private async startOnNode(): Promise<number> {
    this.broker = forkModule('broker-host.ts', [
      this.kind,
      join(this.directory, this.tls ? 'idle.db' : 'broker.db'),
      ...(this.tls ? [this.tls.certificate, this.tls.key] : []),
    ])
    const [port] = (await once(this.broker, 'message')) as [number]
    return port
  }

  private async startMosquitto(): Promise<number> {
    const port = await freePort()
    const file = join(this.directory, 'mosquitto.conf')
    const lines = [
      `listener ${port} 127.0.0.1`,
      'allow_anonymous true',
      'set_tcp_nodelay true',
      'max_queued_messages 0',
      'user root', // Started by root it would not be able to read what is in our directory.
    ]
    if (this.tls) lines.push(`certfile ${this.tls.certificate}`, `keyfile ${this.tls.key}`)
    await writeFile(file, `${lines.join('\n')}\n`)
    const child = spawn('mosquitto', ['-c', file], { stdio: 'ignore' })
    await once(child, 'spawn')
    this.broker = child
    for (let tries = 0; tries < 200; tries++) {
      if (await accepts(port)) return port
      await new Promise(resolve => setTimeout(resolve, 25))
    }
    throw new Error('mosquitto does not listen')
  }

  /** Processor time of the broker so far, user and system, as Linux counts it. */
  private async processorS(): Promise<number> {
    const stat = await readFile(`/proc/${this.broker!.pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / 100
  }
}

function forkModule(file: string, args: readonly string[]): ChildProcess {
  return fork(join(import.meta.dirname, file), [...args], {
    execArgv: ['--import', import.meta.resolve('tsx'), '--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
