import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { Broker, type BrokerOptions } from '@faultline/broker'
import { hashSecret, parseIdentity, type RegistryReader } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { fixedRegistry } from './registry.ts'

const secret = 'a-secret-of-the-tests'
let hash: Promise<string> | undefined

/** Everybody whose name is a name is enrolled. */
async function openRegistry(): Promise<RegistryReader> {
  hash ??= hashSecret(secret)
  const secretHash = await hash
  return fixedRegistry(name => ({ identity: parseIdentity(name), secretHash }))
}

type AgentBrokerOptions = Pick<BrokerOptions, 'bridge' | 'redis'>

export interface BrokerAccess {
  url: string
  secret: string
}

/** Our broker on a free port, which it keeps when it is stopped and started again, and wires to it that can be cut. */
export class AgentBroker implements BrokerAccess {
  readonly secret: string = secret
  port = 0
  broker: Broker | undefined
  private readonly options: AgentBrokerOptions
  private readonly wires = new Set<Wire>()

  constructor(options: AgentBrokerOptions = {}) {
    this.options = options
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`
  }

  async start(): Promise<void> {
    this.broker = new Broker({
      host: '127.0.0.1',
      port: this.port,
      registry: await openRegistry(),
      logger: silentLogger,
      ...this.options,
    })
    await this.broker.start()
    this.port = this.broker.port
  }

  /** Ends every connection. Sessions and retained messages live in memory, so they are gone too. */
  async stop(): Promise<void> {
    for (const wire of this.wires) wire.cut()
    await this.broker?.stop()
    this.broker = undefined
  }

  /** A way of its own to the broker. */
  async wire(t: Pick<TestContext, 'after'>): Promise<Wire> {
    const wire = new Wire(this)
    await wire.start()
    this.wires.add(wire)
    t.after(() => wire.stop())
    return wire
  }
}

/** A connection that breaks when a test says so: no goodbye, and the broker lives on. */
export class Wire implements BrokerAccess {
  readonly secret = secret
  url = ''
  private readonly broker: { readonly port: number }
  private readonly sockets = new Set<Socket>()
  private server: Server | undefined
  private open = true

  constructor(broker: { readonly port: number }) {
    this.broker = broker
  }

  async start(): Promise<void> {
    this.server = createServer(near => this.join(near)).listen(0, '127.0.0.1')
    await once(this.server, 'listening')
    this.url = `mqtt://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  async stop(): Promise<void> {
    this.cut()
    this.server?.close()
  }

  /** Breaks what is connected; who tries again gets through. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy()
  }

  /** Breaks what is connected, and lets nobody through until `mend`. */
  sever(): void {
    this.open = false
    this.cut()
  }

  mend(): void {
    this.open = true
  }

  private join(near: Socket): void {
    near.on('error', () => {}) // Its end is what matters.
    if (!this.open) {
      near.destroy()
      return
    }
    const far = connect(this.broker.port, '127.0.0.1')
    far.on('error', () => {})
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.sockets.add(socket)
      socket.pipe(other)
      socket.on('close', () => {
        this.sockets.delete(socket)
        other.destroy()
      })
    }
  }
}

export async function startAgentBroker(
  t: Pick<TestContext, 'after'>,
  options?: AgentBrokerOptions,
): Promise<AgentBroker> {
  const broker = new AgentBroker(options)
  await broker.start()
  t.after(() => broker.stop())
  return broker
}
