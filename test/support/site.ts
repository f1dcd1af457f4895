import { spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Health, Inference, Message } from '@faultline/protocol'
import { identityOf } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { parse, stringify } from 'yaml'
import { type RunningProgram, root, startScript } from './processes.ts'
import { temporaryDirectory } from './temp.ts'

/** A plant whose components are processes of their own, enrolled and started by the commands a person would use. */
export class Site {
  readonly messages: Message[] = []
  readonly port: number
  private readonly t: TestContext
  private readonly directory: string

  private constructor(t: TestContext, directory: string, port: number) {
    this.t = t
    this.directory = directory
    this.port = port
  }

  static async create(t: TestContext): Promise<Site> {
    return new Site(t, await temporaryDirectory(t), await freePort())
  }

  /** Enrols an identity; gives the path of its configuration file, changed as asked. */
  async enroll(flags: readonly string[], changes: Record<string, unknown> = {}): Promise<string> {
    const file = join(this.directory, `${flags.join('')}.yaml`)
    this.provision(['enroll', ...flags, '--broker-url', `mqtt://127.0.0.1:${this.port}`, '--out', file])
    const entries = parse(await readFile(file, 'utf8')) as Record<string, unknown>
    await writeFile(file, stringify({ ...entries, dataDirectory: undefined, ...changes }))
    return file
  }

  dataDirectory(device: string): string {
    return join(this.directory, 'data', device)
  }

  async startBroker(): Promise<RunningProgram> {
    const file = join(this.directory, 'broker.yaml')
    const store = join(this.directory, 'broker.db')
    await writeFile(file, stringify({ port: this.port, registry: this.registry, store }))
    const program = startScript(this.t, 'broker/main.ts', ['--config', file])
    await program.said(/broker listens/)
    return program
  }

  start(entry: string, config: string): RunningProgram {
    return startScript(this.t, entry, ['--config', config])
  }

  /** Listens as an operator; every message is kept in `messages`. */
  async listen(): Promise<MqttSession> {
    const output = this.provision(['enroll', '--role', 'operator', '--id', 'test'])
    const session = new MqttSession({
      url: `mqtt://127.0.0.1:${this.port}`,
      identity: identityOf('operator', 'test'),
      secret: /secret\s+(\S+)/.exec(output)![1]!,
      subscriptions: ['faultline/v1/#'],
      onMessage: message => {
        this.messages.push(message)
        for (const waiter of [...this.waiters]) waiter(message)
      },
      logger: silentLogger,
      backOff: { initialMs: 100, maximumMs: 500 },
    })
    await session.start()
    this.t.after(() => session.stop())
    await session.whenOnline()
    return session
  }

  /** The next message from now on that fits; fails after 30 s. */
  next<M extends Message>(what: string, fits: (message: Message) => message is M): Promise<M>
  next(what: string, fits: (message: Message) => boolean): Promise<Message>
  next(what: string, fits: (message: Message) => boolean): Promise<Message> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiters.delete(waiter)
        reject(
          new Error(`no ${what} within 30 s; the last messages: ${this.messages.slice(-5).map(({ kind }) => kind)}`),
        )
      }, 30_000)
      const waiter = (message: Message) => {
        if (!fits(message)) return
        clearTimeout(timer)
        this.waiters.delete(waiter)
        resolve(message)
      }
      this.waiters.add(waiter)
    })
  }

  async nextInference(what: string, fits: (inference: Inference) => boolean): Promise<Inference> {
    return (await this.next(what, message => message.kind === 'inference' && fits(message.payload)))
      .payload as Inference
  }

  async nextHealth(device: string, fits: (health: Health) => boolean = () => true): Promise<Health> {
    const found = await this.next(
      `health of ${device}`,
      message => message.kind === 'health' && message.address.device === device && fits(message.payload),
    )
    return found.payload as Health
  }

  private readonly waiters = new Set<(message: Message) => void>()

  private get registry(): string {
    return join(this.directory, 'registry.db')
  }

  private provision(args: readonly string[]): string {
    const done = spawnSync(
      process.execPath,
      [
        '--import',
        'tsx',
        '--disable-warning=ExperimentalWarning',
        'provisioning/main.ts',
        ...args,
        '--registry',
        this.registry,
      ],
      { cwd: root, encoding: 'utf8' },
    )
    if (done.status !== 0) throw new Error(`provision ${args.join(' ')}: ${done.stderr}`)
    return done.stdout
  }
}

/** A port that is free now, for a broker that must come back on the same one. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise(resolve => server.close(resolve))
  return port
}
