import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Health, Inference, Message } from '@faultline/protocol'
import { identityOf } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { parse, stringify } from 'yaml'
import { issueCertificate } from './authority.ts'
import { runCommand } from './command.ts'
import { type BrokerKind, usualBroker } from './mosquitto.ts'
import { freePort, type RunningProgram, startProgram, startScript } from './processes.ts'
import { findProgram } from './programs.ts'
import { temporaryDirectory } from './temp.ts'

/** A plant whose components are processes of their own, enrolled and started by the commands a person would use. */
export class Site {
  readonly messages: Message[] = []
  readonly port: number
  private readonly t: TestContext
  readonly directory: string

  private readonly kind: BrokerKind

  private constructor(t: TestContext, directory: string, port: number, kind: BrokerKind) {
    this.kind = kind
    this.t = t
    this.directory = directory
    this.port = port
  }

  static async create(t: TestContext, kind = usualBroker): Promise<Site> {
    const site = new Site(t, await temporaryDirectory(t), await freePort(), kind)
    if (kind === 'mosquitto') {
      // Mosquitto is started once those who connect are enrolled.
      await site.provision(['init'])
      await site.provision(['enroll', '--role', 'operator', '--id', 'test'])
    }
    return site
  }

  /** Enrols an identity; gives the path of its configuration file, changed as asked. */
  async enroll(flags: readonly string[], changes: Record<string, unknown> = {}): Promise<string> {
    const file = join(this.directory, `${flags.join('')}.yaml`)
    const output = await this.provision([
      'enroll',
      ...flags,
      '--broker-url',
      `mqtt://127.0.0.1:${this.port}`,
      '--out',
      file,
    ])
    const entries = parse(await readFile(file, 'utf8')) as Record<string, unknown>
    const name = /enrolled (\S+)/.exec(output)![1]!
    const broker = this.kind === 'mosquitto' ? await this.access(name) : entries.broker
    await writeFile(file, stringify({ ...entries, dataDirectory: undefined, ...changes, broker }))
    return file
  }

  /** Enrols a recorder; gives the path of its configuration file, and of the store it fills. */
  async enrollRecorder(): Promise<{ config: string; store: string }> {
    const output = await this.provision(['enroll', '--role', 'recorder', '--id', 'main'])
    const identity = 'recorders/main'
    const access =
      this.kind === 'mosquitto'
        ? await this.access(identity)
        : { url: this.url, secret: /secret\s+(\S+)/.exec(output)![1]! }
    const [config, store] = [join(this.directory, 'recorder.yaml'), join(this.directory, 'telemetry.db')]
    const spool = { directory: join(this.directory, 'recorder') }
    const settings = { broker: { ...access, identity }, store: { kind: 'sqlite', path: store }, spool }
    await writeFile(config, stringify(settings))
    return { config, store }
  }

  dataDirectory(device: string): string {
    return join(this.directory, 'data', device)
  }

  async startBroker(): Promise<RunningProgram> {
    if (this.kind === 'mosquitto') {
      const directory = join(this.directory, 'mosquitto')
      await this.provision(['mosquitto', '--directory', directory, '--port', String(this.port)])
      const program = startProgram(this.t, findProgram('mosquitto')!, ['-c', join(directory, 'mosquitto.conf')])
      await program.said(/mosquitto version \S+ running/)
      return program
    }
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
    const identity = identityOf('operator', 'test')
    const session = new MqttSession({
      ...(this.kind === 'mosquitto' ? await this.access(identity.name) : await this.enrollOperator(identity.id)),
      identity,
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

  /** The next message from now on that fits; fails after a minute. */
  next<M extends Message>(what: string, fits: (message: Message) => message is M): Promise<M>
  next(what: string, fits: (message: Message) => boolean): Promise<Message>
  next(what: string, fits: (message: Message) => boolean): Promise<Message> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiters.delete(waiter)
        reject(
          new Error(
            `no ${what} within a minute; the last messages: ${this.messages.slice(-5).map(({ kind }) => kind)}`,
          ),
        )
      }, 60_000)
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

  private get url(): string {
    return `${this.kind === 'mosquitto' ? 'mqtts' : 'mqtt'}://127.0.0.1:${this.port}`
  }

  private async enrollOperator(id: string): Promise<{ url: string; secret: string }> {
    const output = await this.provision(['enroll', '--role', 'operator', '--id', id])
    return { url: this.url, secret: /secret\s+(\S+)/.exec(output)![1]! }
  }

  /** By a certificate of the fleet's authority. */
  private async access(name: string): Promise<{ url: string; ca: string; certificate: string; key: string }> {
    return { url: this.url, ...(await issueCertificate(this.directory, name)) }
  }

  private get registry(): string {
    return join(this.directory, 'registry.db')
  }

  private async provision(args: readonly string[]): Promise<string> {
    const done = await runCommand('provisioning/main.ts', [...args, '--registry', this.registry])
    if (done.code !== 0) throw new Error(`provision ${args.join(' ')}: ${done.stderr}`)
    return done.stdout
  }
}
