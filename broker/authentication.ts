import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import {
  type Credential,
  type ErrorCode,
  hashSecret,
  type Identity,
  newSecret,
  parseIdentity,
  type RegistryReader,
  verifySecret,
} from '@faultline/protocol'
import { addressKey, type Logger, LoginThrottle } from '@faultline/runtime'
import type { Client, ConnectPacket } from 'aedes'
import { mayPublish } from './authorisation.ts'
import type { BrokerCounts } from './counts.ts'
import { Takeovers } from './takeovers.ts'

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
  /** Of what is wrong here, not with the client. */
  readonly code: ErrorCode | undefined

  constructor(returnCode: number, reason: string, code?: ErrorCode) {
    super(reason)
    this.returnCode = returnCode
    this.code = code
  }
}

export interface AuthenticationOptions {
  registry: RegistryReader
  /** Failed logins that one address may have in a minute. */
  failedLogins: number
  logger: Logger
  counts: BrokerCounts
}

/** What a login rests on: while the registry says the same, it stands. */
interface Proof {
  secretHash?: string
  fingerprint?: string
}

/** Decides who a connection is. There is no anonymous access: every connection is an enrolled identity, or is refused. */
export class Authentication {
  private readonly options: AuthenticationOptions
  private readonly connects = new WeakMap<Client, ConnectPacket>()
  private readonly identities = new WeakMap<Client, Identity>()
  /** Who holds a client id now. */
  private readonly holders = new Map<string, { client: Client; name: string; proof: Proof }>()
  /** Names whose secret was verified before, so that a fleet that returns at once after a break need not wait for scrypt. */
  private readonly verified = new Map<string, { secretHash: string; digest: Buffer }>()
  private readonly digestKey = randomBytes(32)
  private readonly throttle: LoginThrottle
  private readonly takeovers: Takeovers
  private decoy: Promise<string> | undefined
  /** Checks under way, by known name (all others share one entry) and by what is checked. */
  private readonly checks = new Map<string, Map<string, Promise<string | undefined>>>()

  constructor(options: AuthenticationOptions) {
    this.options = options
    this.throttle = new LoginThrottle(options.failedLogins)
    this.takeovers = new Takeovers(options.logger)
  }

  /** The identity of a client that has logged in. */
  identityOf(client: Client): Identity | undefined {
    return this.identities.get(client)
  }

  /** Whether a client is logged in with a client id. */
  isConnected(clientId: string): boolean {
    return this.holders.get(clientId)?.client.closed === false
  }

  /** Clients whose identity, secret or certificate the registry has no more. Throws when it cannot be read. */
  revoked(): Client[] {
    const stale = [...this.holders.values()].filter(({ name, proof }) => !this.stands(name, proof))
    return stale.map(({ client }) => client)
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
      const { identity, proof } = await this.prove(client, name, secret?.toString('utf8'))
      if (!mayUseClientId(identity, client.id, client.clean))
        throw new Refusal(notAuthorised, 'the client id is not one of this user name')
      // MQTT 3.1.1, 3.1.4: the server may check what CONNECT asks for and refuse it. A will that may not be published
      // is refused here rather than dropped later: who relies on it should know before it is needed.
      if (connect?.will && !mayPublish(identity, connect.will.topic)) {
        throw new Refusal(notAuthorised, `may not publish its will to ${connect.will.topic}`)
      }
      // A check takes a while, in which the identity may have been revoked.
      if (!this.ask(() => this.stands(identity.name, proof))) {
        throw new Refusal(badUserNameOrPassword, 'revoked while it was being checked')
      }
      this.hold(client, identity.name, proof)
      this.identities.set(client, identity)
      return identity
    } catch (thrown) {
      this.options.counts.refusedLogins++
      if (thrown instanceof Refusal && thrown.returnCode === badUserNameOrPassword) {
        this.throttle.failed(addressKey(socketOf(client)))
      }
      const { clientId } = this.connects.get(client) ?? {}
      const reason = thrown instanceof Error ? thrown.message : String(thrown)
      this.options.logger.warn(
        { user: loggable(name), clientId: clientId?.slice(0, 200), address: socketOf(client).remoteAddress, reason },
        'login refused',
      )
      throw thrown
    } finally {
      this.connects.delete(client)
    }
  }

  /** By certificate, by name and secret, or by both when both are there. */
  private async prove(
    client: Client,
    name: string | undefined,
    secret: string | undefined,
  ): Promise<{ identity: Identity; proof: Proof }> {
    const address = addressKey(socketOf(client))
    const certificate = this.readCertificate(client)
    if (!certificate) {
      if (!name || secret === undefined) throw new Refusal(notAuthorised, 'no user name or no password')
      return this.authenticate(name, secret, address)
    }
    const { identity } = certificate
    if (name && name !== identity.name) {
      throw new Refusal(notAuthorised, `the certificate is that of ${identity.name}, not of this user name`)
    }
    const proof: Proof = { fingerprint: certificate.fingerprint }
    if (secret !== undefined) Object.assign(proof, (await this.authenticate(identity.name, secret, address)).proof)
    return { identity, proof }
  }

  /** The certificate a connection came with, which must be a valid one then: it is not passed over for a password. */
  private readCertificate(client: Client): { identity: Identity; fingerprint: string } | undefined {
    const socket = socketOf(client)
    if (!(socket instanceof TLSSocket)) return undefined
    const { subject, fingerprint256 } = socket.getPeerCertificate()
    if (!fingerprint256) return undefined
    if (!socket.authorized) {
      throw new Refusal(badUserNameOrPassword, `the certificate is not valid: ${socket.authorizationError}`)
    }
    const fingerprint = fingerprint256.replaceAll(':', '').toLowerCase()
    const issued = this.ask(registry => registry.certificate(fingerprint))
    if (!issued) throw new Refusal(badUserNameOrPassword, 'unknown or revoked certificate')
    // A list where there are several common names, which is nobody's.
    if (subject.CN !== issued.identity.name) {
      throw new Refusal(badUserNameOrPassword, `the certificate of ${issued.identity.name} bears another name`)
    }
    return { identity: issued.identity, fingerprint }
  }

  private async authenticate(
    name: string,
    secret: string,
    address: string,
  ): Promise<{ identity: Identity; proof: Proof }> {
    this.decoy ??= hashSecret(newSecret())
    const enrolled = this.ask(registry => registry.credential(name))
    const digest = createHmac('sha256', this.digestKey).update(secret).digest()
    const known = this.verified.get(name)
    if (enrolled && known && hasSecret(enrolled, known.secretHash) && timingSafeEqual(known.digest, digest)) {
      return { identity: enrolled.identity, proof: { secretHash: known.secretHash } }
    }
    // Only now: those who were let in before come back from behind an address that somebody else abuses, too.
    if (this.throttle.isExhausted(address)) {
      throw new Refusal(serverUnavailable, 'too many failed logins from this address')
    }
    // As long as for a name that is enrolled, or the time taken would tell which names are.
    const hashes = [enrolled?.secretHash || (await this.decoy), enrolled?.formerHash].filter(hash => hash !== undefined)
    const what = `${name} ${hashes.join(' ')} ${digest.toString('hex')}`
    const secretHash = await this.check(enrolled && name, what, () => matching(secret, hashes))
    if (!enrolled) throw new Refusal(badUserNameOrPassword, 'unknown or revoked identity')
    if (secretHash === undefined) throw new Refusal(badUserNameOrPassword, 'wrong secret')
    this.verified.set(name, { secretHash, digest })
    return { identity: enrolled.identity, proof: { secretHash } }
  }

  /** Runs a check, or joins the same one: the tools of one user may all come at once. */
  private check(
    knownName: string | undefined,
    what: string,
    verify: () => Promise<string | undefined>,
  ): Promise<string | undefined> {
    const name = knownName ?? ''
    const running = this.checks.get(name) ?? new Map<string, Promise<string | undefined>>()
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

  /** Whether the registry still says what a login rested on. */
  private stands(name: string, { secretHash, fingerprint }: Proof): boolean {
    const { registry } = this.options
    if (fingerprint !== undefined && registry.certificate(fingerprint)?.identity.name !== name) return false
    return secretHash === undefined || hasSecret(registry.credential(name), secretHash)
  }

  private ask<T>(question: (registry: RegistryReader) => T): T {
    try {
      return question(this.options.registry)
    } catch (thrown) {
      throw new Refusal(serverUnavailable, `the registry failed: ${(thrown as Error).message}`)
    }
  }

  /** Counts and logs that a connection took the place of another, of this broker or of another in the cluster. */
  tookOver(client: Client, user: string, formerAddress: string | undefined): void {
    this.options.counts.takeovers++
    this.takeovers.note({ clientId: client.id, user, address: socketOf(client).remoteAddress, formerAddress })
  }

  /** Counts and logs a client that speaks another version of MQTT; what its CONNECT said is there as far as it was read. */
  refuseVersion(client: Client, level: number, { clientId, username }: Partial<ConnectPacket> = {}): void {
    const { counts, logger } = this.options
    counts.refusedVersions++
    const version = level === 5 ? 'MQTT 5' : `level ${level}`
    logger.warn(
      { user: loggable(username), clientId: clientId?.slice(0, 200), address: socketOf(client).remoteAddress, version },
      'login refused: the client speaks another version of MQTT; set it to 3.1.1',
    )
  }

  /**
   * MQTT 3.1.1, 3.1.4-2 has a second connection with a client id end the first. Among two connections of one user that
   * is a reconnect; from another user it would be an attack.
   */
  private hold(client: Client, name: string, proof: Proof): void {
    if (client.closed) throw new Refusal(notAuthorised, 'the connection ended')
    const holder = this.holders.get(client.id)
    if (holder && holder.name !== name && !holder.client.closed) {
      throw new Refusal(notAuthorised, `the client id is in use by ${holder.name}`)
    }
    this.holders.set(client.id, { client, name, proof })
    const { counts } = this.options
    if (holder && !holder.client.closed) this.tookOver(client, name, socketOf(holder.client).remoteAddress)
    counts.connected++
    counts.connectedMaximum = Math.max(counts.connectedMaximum, counts.connected)
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

/** Whether a hash is one that an identity may log in by now. */
const hasSecret = (credential: Credential | undefined, hash: string): boolean =>
  credential !== undefined && (credential.secretHash === hash || credential.formerHash === hash)

/** The hash that a secret belongs to. All are checked, at the same time: how long it takes tells nothing of which. */
async function matching(secret: string, hashes: readonly string[]): Promise<string | undefined> {
  const right = await Promise.all(hashes.map(hash => verifySecret(secret, hash)))
  return hashes.find((_, i) => right[i])
}

/** What carries a connection, below WebSocket where there is one. */
export const socketOf = ({ req, conn }: Client): Socket => req?.socket ?? (conn as Socket)

/** A user name fit for the log: some tools are given the secret in its place by mistake. */
function loggable(name: string | undefined): string | undefined {
  if (name === undefined) return undefined
  try {
    return parseIdentity(name).name
  } catch {
    return '(not a name)'
  }
}
