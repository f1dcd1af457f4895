import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Socket } from 'node:net'
import {
  hashSecret,
  type Identity,
  newSecret,
  parseIdentity,
  type RegistryReader,
  verifySecret,
} from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import type { Client, ConnectPacket } from 'aedes'
import { mayPublish } from './authorisation.ts'
import type { BrokerCounts } from './counts.ts'

/** CONNACK return codes (MQTT 3.1.1, 3.2.2.3). */
const identifierRejected = 2
const serverUnavailable = 3
const badUserNameOrPassword = 4
const notAuthorised = 5

/**
 * Secrets that are checked at the same time for one name; all unknown names count as one. A check takes a thread of the
 * pool (it has four) for tens of milliseconds: guesses must leave some to logins that are real.
 */
const maximumChecks = 2

/** Why a connection is refused: the code goes to the client, the sentence to the log alone. */
export class Refusal extends Error {
  readonly returnCode: number

  constructor(returnCode: number, reason: string) {
    super(reason)
    this.returnCode = returnCode
  }
}

export interface AuthenticationOptions {
  registry: RegistryReader
  logger: Logger
  counts: BrokerCounts
}

/** Decides who a connection is. There is no anonymous access: every connection is an enrolled identity, or is refused. */
export class Authentication {
  private readonly options: AuthenticationOptions
  private readonly connects = new WeakMap<Client, ConnectPacket>()
  private readonly identities = new WeakMap<Client, Identity>()
  /** Who holds a client id now. */
  private readonly holders = new Map<string, { client: Client; name: string }>()
  /** Names whose secret was verified before, so that a fleet that returns at once after a break need not wait for scrypt. */
  private readonly verified = new Map<string, { secretHash: string; digest: Buffer }>()
  private readonly digestKey = randomBytes(32)
  private decoy: Promise<string> | undefined
  /** Checks under way, by known name (all others share one entry) and by what is checked. */
  private readonly checks = new Map<string, Map<string, Promise<boolean>>>()

  constructor(options: AuthenticationOptions) {
    this.options = options
  }

  /** The identity of a client that has logged in. */
  identityOf(client: Client): Identity | undefined {
    return this.identities.get(client)
  }

  /** Whether somebody is logged in with a client id. */
  isConnected(clientId: string): boolean {
    return this.holders.get(clientId)?.client.closed === false
  }

  /** Keeps what CONNECT said until the user name and password come up. */
  connecting(client: Client, packet: ConnectPacket): void {
    this.connects.set(client, packet)
  }

  /** Resolves with the identity of a client, or throws a `Refusal`, which is logged and counted. */
  async login(client: Client, name: string | undefined, secret: Buffer | undefined): Promise<Identity> {
    try {
      const connect = this.connects.get(client)
      // MQTT 3.1.1, 3.1.3-8: an empty client id asks for a clean session.
      if (connect?.clientId === '' && !client.clean)
        throw new Refusal(identifierRejected, 'a stored session needs a client id')
      if (!name || !secret) throw new Refusal(notAuthorised, 'no user name or no password')
      const identity = await this.authenticate(name, secret.toString('utf8'))
      if (!mayUseClientId(identity, client.id, client.clean))
        throw new Refusal(notAuthorised, 'the client id is not one of this user name')
      // MQTT 3.1.1, 3.1.4: the server may check what CONNECT asks for and refuse it. A will that may not be published
      // is refused here rather than dropped later: who relies on it should know before it is needed.
      if (connect?.will && !mayPublish(identity, connect.will.topic)) {
        throw new Refusal(notAuthorised, `may not publish its will to ${connect.will.topic}`)
      }
      this.hold(client, identity.name)
      this.identities.set(client, identity)
      return identity
    } catch (thrown) {
      this.options.counts.refusedLogins++
      const { clientId } = this.connects.get(client) ?? {}
      const reason = thrown instanceof Error ? thrown.message : String(thrown)
      this.options.logger.warn(
        { user: loggable(name), clientId: clientId?.slice(0, 200), address: addressOf(client), reason },
        'login refused',
      )
      throw thrown
    } finally {
      this.connects.delete(client)
    }
  }

  private async authenticate(name: string, secret: string): Promise<Identity> {
    this.decoy ??= hashSecret(newSecret())
    const enrolled = this.lookUp(name)
    const digest = createHmac('sha256', this.digestKey).update(secret).digest()
    const known = this.verified.get(name)
    if (enrolled && known?.secretHash === enrolled.secretHash && timingSafeEqual(known.digest, digest)) {
      return enrolled.identity
    }
    // As long as for a name that is enrolled, or the time taken would tell which names are.
    const secretHash = enrolled?.secretHash ?? (await this.decoy)
    const what = `${name} ${secretHash} ${digest.toString('hex')}`
    const right = await this.check(enrolled && name, what, () => verifySecret(secret, secretHash))
    if (!enrolled) throw new Refusal(badUserNameOrPassword, 'unknown or revoked identity')
    if (!right) throw new Refusal(badUserNameOrPassword, 'wrong secret')
    this.verified.set(name, { secretHash, digest })
    return enrolled.identity
  }

  /** Runs a check, or joins the same one: the tools of one user may all come at once. */
  private check(knownName: string | undefined, what: string, verify: () => Promise<boolean>): Promise<boolean> {
    const name = knownName ?? ''
    const running = this.checks.get(name) ?? new Map<string, Promise<boolean>>()
    const same = running.get(what)
    if (same) return same
    if (running.size >= maximumChecks) throw new Refusal(serverUnavailable, 'too many logins are being checked')
    const check = verify().finally(() => {
      running.delete(what)
      if (running.size === 0) this.checks.delete(name)
    })
    running.set(what, check)
    this.checks.set(name, running)
    return check
  }

  private lookUp(name: string): ReturnType<RegistryReader['credential']> {
    try {
      return this.options.registry.credential(name)
    } catch (thrown) {
      throw new Refusal(serverUnavailable, `the registry failed: ${(thrown as Error).message}`)
    }
  }

  /**
   * MQTT 3.1.1, 3.1.4-2 has a second connection with a client id end the first. Among two connections of one user that
   * is a reconnect; from another user it would be an attack.
   */
  private hold(client: Client, name: string): void {
    if (client.closed) throw new Refusal(notAuthorised, 'the connection ended')
    const holder = this.holders.get(client.id)
    if (holder && holder.name !== name && !holder.client.closed) {
      throw new Refusal(notAuthorised, `the client id is in use by ${holder.name}`)
    }
    this.holders.set(client.id, { client, name })
    this.options.counts.connected++
    client.conn.once('close', () => {
      this.options.counts.connected--
      if (this.holders.get(client.id)?.client === client) this.holders.delete(client.id)
    })
  }
}

/**
 * For all but operators the client id is the name, so that one string is session and permission. An operator's tools
 * choose ids of their own: any below the operator's name, and for as long as the connection lasts any without a "/" (no
 * name is). A stored session waits for whoever comes with its id, so that id has to say whose it is.
 */
export function mayUseClientId(identity: Identity, clientId: string, clean: boolean): boolean {
  if (clientId === identity.name) return true
  if (identity.role !== 'operator') return false
  return clientId.startsWith(`${identity.name}/`) || (clean && !clientId.includes('/'))
}

const addressOf = ({ req, conn }: Client): string | undefined => (req?.socket ?? (conn as Socket)).remoteAddress

/** A user name fit for the log: some tools are given the secret in its place by mistake. */
function loggable(name: string | undefined): string | undefined {
  if (name === undefined) return undefined
  try {
    return parseIdentity(name).name
  } catch {
    return '(not a name)'
  }
}
