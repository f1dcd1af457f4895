import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { Broker } from '@faultline/broker'
import { hashSecret, parseIdentity, type RegistryReader } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'

const secret = 'a-secret-of-the-tests'
let hash: Promise<string> | undefined

/** Everybody whose name is a name is enrolled. */
async function openRegistry(): Promise<RegistryReader> {
  hash ??= hashSecret(secret)
  const secretHash = await hash
  return { credential: name => ({ identity: parseIdentity(name), secretHash }) }
}

export interface BrokerAccess {
  url: string
  secret: string
}

/** Our broker on a free port, which it keeps when it is stopped and started again, and a wire to it that can be cut. */
export class AgentBroker implements BrokerAccess {
  readonly secret: string = secret
  private port = 0
  private broker: Broker | undefined
  private proxy: Server | undefined
  private readonly wires = new Set<Socket>()

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`
  }

  async start(): Promise<void> {
    this.broker = new Broker({
      host: '127.0.0.1',
      port: this.port,
      registry: await openRegistry(),
      logger: silentLogger,
    })
    await this.broker.start()
    this.port = this.broker.port
  }

  /** Ends every connection. Sessions and retained messages live in memory, so they are gone too. */
  async stop(): Promise<void> {
    this.cut()
    this.proxy?.close()
    this.proxy = undefined
    await this.broker?.stop()
    this.broker = undefined
  }

  /** The broker behind a wire of its own. */
  async wire(): Promise<BrokerAccess> {
    const proxy = createServer(near => {
      const far = connect(this.port, '127.0.0.1')
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.wires.add(socket)
        socket.pipe(other)
        socket.on('error', () => {}) // Its end is what matters.
        socket.on('close', () => {
          this.wires.delete(socket)
          other.destroy()
        })
      }
    })
    this.proxy = proxy.listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    return { url: `mqtt://127.0.0.1:${(proxy.address() as AddressInfo).port}`, secret }
  }

  /** Breaks every connection over the wire, without a goodbye. */
  cut(): void {
    for (const socket of this.wires) socket.destroy()
  }
}

export async function startAgentBroker(t: Pick<TestContext, 'after'>): Promise<AgentBroker> {
  const broker = new AgentBroker()
  await broker.start()
  t.after(() => broker.stop())
  return broker
}
