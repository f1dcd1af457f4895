import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { type ErrorCode, FaultlineError, parseIdentity, toFaultlineError } from '@faultline/protocol'
import {
  addressKey,
  bundleCertificates,
  createServerCertificate,
  estPaths,
  estTypes,
  keyDigestOf,
  type Logger,
  LoginThrottle,
  listenError,
  readCertificate,
  renewalTime,
  requestFromBody,
  type Service,
  signRequest,
} from '@faultline/runtime'
import type { Authority } from './authority.ts'
import type { Issued } from './certificates.ts'
import type { Registry } from './registry.ts'

export interface EstServiceOptions {
  registry: Registry
  /** As it is now: asked at the start, every few seconds and for each certificate, since a rollover may be under way. */
  authority: () => Promise<Authority>
  /** Address to listen on; every one of the machine when absent. */
  host?: string | undefined
  port: number
  /** Names and addresses that devices reach it under. */
  names: readonly string[]
  /** How long the certificates it issues are good. */
  certificateDays: number
  /** Failed requests that one address may have in a minute. */
  failuresPerMinute?: number
  /** How often the authority is looked at. */
  lookMs?: number
  logger: Logger
}

/** Of the service's own certificate, which it makes anew when two thirds of it are over. */
const ownDays = 30
/** How often it looks whether that is due, or others are to be believed. */
const defaultLookMs = 5_000
const maximumBodyBytes = 16_384
/** Connections at once: each may keep a handshake and a signature waiting. */
const maximumConnections = 500

const statuses: Partial<Record<ErrorCode, number>> = {
  CERTIFICATE_INVALID: 400,
  CLAIM_REFUSED: 401,
  ENROLMENT_REFUSED: 403,
  DATABASE_FAILED: 503,
}

interface OwnCertificate {
  tls: {
    ca: string
    cert: string
    key: string
    requestCert: true
    rejectUnauthorized: false
    minVersion: 'TLSv1.2'
  }
}

/** What an answer says: certificates, or why there are none. */
export type EstOutcome = 'claimed' | 'renewed' | 'refused' | 'throttled' | 'failed'

/**
 * Enrolment over HTTPS (RFC 7030): hands out the authority's certificate, a first certificate for a one-time token, and
 * the next one for a certificate that is still good. Certificates bear the name the registry knows, whatever was asked for.
 */
export class EstService implements Service {
  readonly outcomes: Record<EstOutcome, number> = { claimed: 0, renewed: 0, refused: 0, throttled: 0, failed: 0 }
  private readonly options: EstServiceOptions
  private readonly throttle: LoginThrottle
  private server: Server | undefined
  private timer: NodeJS.Timeout | undefined

  constructor(options: EstServiceOptions) {
    this.options = options
    this.throttle = new LoginThrottle(options.failuresPerMinute ?? 30)
  }

  /** Where it listens; 0 while stopped. */
  get port(): number {
    return (this.server?.address() as AddressInfo | null | undefined)?.port ?? 0
  }

  /** Throws `ADDRESS_IN_USE`, `CERTIFICATE_INVALID`. */
  async start(): Promise<void> {
    const { host, port, logger, lookMs = defaultLookMs } = this.options
    let own = await this.certify()
    const server = createServer(
      { ...own.tls, requestTimeout: 10_000, handshakeTimeout: 10_000 },
      (request, response) => {
        this.answer(request, response).catch((error: Error) => {
          logger.error({ error: error.message }, 'answering a request failed')
          response.destroy()
        })
      },
    )
    server.maxConnections = maximumConnections
    server.headersTimeout = 10_000
    server.keepAliveTimeout = 1_000
    server.listen({ host, port })
    try {
      await once(server, 'listening')
    } catch (thrown) {
      throw listenError(thrown, 'provisioning service', port)
    }
    server.on('error', error => logger.error({ error: error.message }, 'connection not taken'))
    this.server = server
    this.timer = setInterval(() => {
      this.renewOwn(own).then(
        next => {
          if (next === own) return
          own = next
          server.setSecureContext(own.tls)
        },
        (error: Error) => logger.error({ error: error.message }, 'no new certificate for the service'),
      )
    }, lookMs)
    logger.info({ host, port: this.port, names: this.options.names }, 'provisioning service listens')
  }

  async stop(): Promise<void> {
    clearInterval(this.timer)
    this.server?.close()
    this.server?.closeAllConnections()
    this.server = undefined
  }

  /** Another certificate where it is time for one, or where others are to be believed. */
  private async renewOwn(own: OwnCertificate): Promise<OwnCertificate> {
    const { trust } = await this.options.authority()
    const isDue = Date.now() >= renewalTime(readCertificate(own.tls.cert))
    return isDue || trust.join('') !== own.tls.ca ? this.certify() : own
  }

  /** A claim comes without a certificate; one that is shown is looked at where it counts. */
  private async certify(): Promise<OwnCertificate> {
    const { authority, names } = this.options
    const { anchor, trust } = await authority()
    const { certificate, key } = await createServerCertificate(anchor, names, ownDays)
    const asks = { requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.2' } as const
    return { tls: { ca: trust.join(''), cert: certificate, key, ...asks } }
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const socket = request.socket as TLSSocket
    const address = addressKey(socket)
    try {
      if (this.throttle.isExhausted(address)) {
        this.outcomes.throttled++
        response.setHeader('retry-after', '60')
        return end(response, 429, 'too many failed requests from this address')
      }
      const pems = await this.certificatesFor(request, socket)
      if (pems === undefined) return end(response, 404, Object.values(estPaths).join(', '))
      response.writeHead(200, {
        'content-type': estTypes.certificates,
        'content-transfer-encoding': 'base64',
        'cache-control': 'no-store',
      })
      response.end(await bundleCertificates(pems))
    } catch (thrown) {
      const { code, message } = toFaultlineError(thrown)
      const status = statuses[code] ?? 500
      if (status < 500) this.throttle.failed(address)
      this.outcomes[status < 500 ? 'refused' : 'failed']++
      this.options.logger.warn({ code, error: message, address: socket.remoteAddress, path: request.url }, 'refused')
      if (status === 401) response.setHeader('www-authenticate', 'Basic realm="faultline"')
      // What went wrong in here is nobody's business out there.
      end(response, status, status < 500 ? `${code}: ${message}` : code)
    }
  }

  /** Undefined where there is nothing of that name. */
  private async certificatesFor(request: IncomingMessage, socket: TLSSocket): Promise<readonly string[] | undefined> {
    const { method, url = '' } = request
    if (method === 'GET' && url === estPaths.authority) return this.trustFor(socket)
    if (method !== 'POST') return undefined
    if (url === estPaths.enroll) return [await this.claim(request, socket)]
    if (url === estPaths.reenroll) return [await this.renew(request, socket)]
    return undefined
  }

  /** Who is to be believed (RFC 7030, 4.1.2). Of those who show a certificate it is written down that they were told. */
  private async trustFor(socket: TLSSocket): Promise<readonly string[]> {
    const { registry, authority } = this.options
    const { trust } = await authority()
    const fingerprint = fingerprintOf(socket)
    const listed = socket.authorized && fingerprint !== undefined ? registry.certificate(fingerprint) : undefined
    if (listed) registry.told(listed.identity.name, readCertificate(trust.at(-1)!).fingerprint)
    return trust
  }

  private async claim(request: IncomingMessage, socket: TLSSocket): Promise<string> {
    const { registry } = this.options
    const { name, token } = basicCredentials(request.headers.authorization)
    const csr = requestFromBody(await bodyOf(request))
    const keyDigest = await keyDigestOf(csr)
    const certificate = await registry.claim(
      { name, token, keyDigest },
      () => this.sign(csr, name),
      `${name} at ${socket.remoteAddress}`,
    )
    this.outcomes.claimed++
    this.options.logger.info({ name, address: socket.remoteAddress }, 'claimed')
    return certificate
  }

  private async renew(request: IncomingMessage, socket: TLSSocket): Promise<string> {
    const { registry } = this.options
    const fingerprint = fingerprintOf(socket)
    if (fingerprint === undefined) throw refusal('renewing takes a certificate')
    if (!socket.authorized) throw refusal(`the certificate is not valid: ${socket.authorizationError}`)
    const csr = requestFromBody(await bodyOf(request))
    const { name, certificate } = await registry.renew(
      fingerprint,
      owner => this.sign(csr, owner),
      owner => `${owner} at ${socket.remoteAddress}`,
    )
    this.outcomes.renewed++
    this.options.logger.info({ name, address: socket.remoteAddress }, 'renewed')
    return certificate
  }

  private async sign(csr: string, name: string): Promise<Issued> {
    const authority = await this.options.authority()
    const certificate = await signRequest(authority, csr, { name, days: this.options.certificateDays })
    return { certificate, authority: authority.fingerprint }
  }
}

/** Of the certificate that was shown. */
const fingerprintOf = (socket: TLSSocket): string | undefined =>
  socket.getPeerCertificate().fingerprint256?.replaceAll(':', '').toLowerCase()

/** RFC 7617. A name is no secret, but must be one: it ends up in a log. */
function basicCredentials(header = ''): { name: string; token: string } {
  const [, encoded = ''] = /^Basic ([A-Za-z0-9+/=]+)$/i.exec(header) ?? []
  const text = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  try {
    return { name: parseIdentity(text.slice(0, Math.max(0, colon))).name, token: text.slice(colon + 1) }
  } catch (cause) {
    throw new FaultlineError('CLAIM_REFUSED', 'a claim takes a name and its token', { cause })
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = ''
  for await (const chunk of request.setEncoding('latin1')) {
    body += chunk
    if (body.length > maximumBodyBytes) throw new FaultlineError('CERTIFICATE_INVALID', 'the request is too long')
  }
  return body
}

function end(response: ServerResponse, status: number, text: string): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' }).end(`${text}\n`)
}

const refusal = (message: string): FaultlineError => new FaultlineError('ENROLMENT_REFUSED', message)
