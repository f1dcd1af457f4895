import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { FaultlineError } from '@faultline/protocol'
import { connectPacket, RawClient } from '../broker/raw-client.ts'

export interface Account {
  clientId: string
  username: string
  password: string
}

export interface ClientOptions {
  account: Account
  clean: boolean
  /** Where to connect the next time. */
  port(): number
}

const pauseMs = 50
const answerMs = 10_000

/** A client that speaks to the broker whenever it can, packet by packet, and connects anew when a connection ends. */
export abstract class Client {
  private readonly options: ClientOptions
  private readonly stopping = new AbortController()
  private running = Promise.resolve()

  constructor(options: ClientOptions) {
    this.options = options
  }

  /** Resolves once it is stopped; rejects for what no client has to expect, such as a refusal. */
  start(): Promise<void> {
    this.running = this.run()
    return this.running
  }

  async stop(): Promise<void> {
    this.stopping.abort()
    await this.running.catch(() => {}) // Its starter heard of it.
  }

  protected get stopped(): boolean {
    return this.stopping.signal.aborted
  }

  /** Resolves at once when the client is stopped. */
  protected async pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.stopping.signal }).catch(() => {})
  }

  /** Speaks over a connection that is logged in, until the signal says that it has ended or this client has done with it. */
  protected abstract talk(connection: RawClient, ended: AbortSignal, sessionPresent: boolean): Promise<void>

  private async run(): Promise<void> {
    while (!this.stopped) {
      const socket = connect({ port: this.options.port(), host: '127.0.0.1', noDelay: true })
      const ended = new AbortController()
      socket.once('close', () => ended.abort())
      const connection = new RawClient(socket)
      const signal = AbortSignal.any([ended.signal, this.stopping.signal])
      try {
        await this.talk(connection, signal, await this.login(connection, signal))
      } catch (thrown) {
        socket.destroy()
        // The end of a connection is what this is about; anything else is a mistake of the soak or of the broker.
        if (!signal.aborted && !isBroken(thrown)) throw thrown
      }
      await this.pause(pauseMs)
    }
  }

  /** Whether the broker has a session of this client. */
  private async login(connection: RawClient, signal: AbortSignal): Promise<boolean> {
    const { account, clean } = this.options
    await once(connection.socket, 'connect', { signal })
    connection.send({ ...connectPacket, ...account, password: Buffer.from(account.password), clean })
    const answer = await connection.take(AbortSignal.any([signal, AbortSignal.timeout(answerMs)]))
    if (answer.cmd !== 'connack') throw new FaultlineError('INTERNAL', `${answer.cmd} in place of CONNACK`)
    // CONNACK 3: try again. Any other is a mistake.
    if (answer.returnCode === 3) throw new ConnectionLost()
    if (answer.returnCode !== 0) {
      throw new FaultlineError('CREDENTIALS_REFUSED', `${account.clientId}: CONNACK ${answer.returnCode}`)
    }
    return answer.sessionPresent
  }
}

class ConnectionLost extends Error {}

const isBroken = (thrown: unknown): boolean =>
  thrown instanceof ConnectionLost ||
  ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ABORT_ERR'].includes(String((thrown as { code?: unknown }).code))

/** Ends a connection in one of the ways in which connections end; the last leaves it open, for the next to take its place. */
export async function leave(connection: RawClient, way: WayToLeave): Promise<void> {
  const { socket } = connection
  if (way === 'reset') socket.resetAndDestroy()
  else if (way === 'close') socket.destroy()
  else if (way === 'disconnect') {
    connection.send({ cmd: 'disconnect' })
    await finished(socket)
  } else if (way === 'stall') {
    // It takes messages, and is gone before it acknowledges them.
    await delay(stallMs)
    socket.resetAndDestroy()
  }
}

const stallMs = 200

async function finished(socket: Socket): Promise<void> {
  socket.end()
  if (!socket.closed)
    await once(socket, 'close', { signal: AbortSignal.timeout(answerMs) }).catch(() => socket.destroy())
}

export const waysToLeave = ['reset', 'close', 'disconnect', 'stall', 'replace'] as const
export type WayToLeave = (typeof waysToLeave)[number]
