import { EventEmitter } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { FaultlineError, type Identity, toFaultlineError } from '@faultline/protocol'
import { readCertificate } from './certificates.ts'
import { CredentialFiles, type CredentialPaths, type StoredCertificate, tokenDigest } from './credential-files.ts'
import { EstClient } from './est-client.ts'
import type { Logger } from './logger.ts'
import type { Service } from './service.ts'

/** Where certificates come from: the entry `broker.enrolment` of a configuration. */
export interface EnrolmentAccess {
  /** `https://host:port` of `npm run provision -- serve`. */
  url: string
  /** One-time token for the first certificate; of no use afterwards. */
  token?: string | undefined
  /** SHA-256 of the certificate of the fleet's authority, which is how the service is known before there is any. */
  fingerprint?: string | undefined
}

export interface EnrolmentOptions {
  identity: Identity
  access: EnrolmentAccess
  /** Where it puts what it gets. */
  files: CredentialPaths
  logger: Logger
  /** First pause after a failure, in ms; it doubles up to `longestPauseMs`. */
  firstPauseMs?: number
  /** How often it asks whom the fleet believes, in ms. */
  trustIntervalMs?: number
}

interface EnrolmentEvents {
  /** There is a new certificate: the first one, or the next. */
  certified: []
  problem: [error: FaultlineError]
}

const longestPauseMs = { claim: 5 * 60_000, renew: 60 * 60_000 }
/** A clock may be put right in the meantime: how long it waits is thought over so often. */
const lookMs = 60 * 60_000
/** An authority takes weeks to be replaced by the next. */
const defaultTrustIntervalMs = 24 * 60 * 60_000

/** When a certificate is replaced: after two thirds of its time, which leaves a third for a service that is down. */
export const renewalTime = ({ notBefore, notAfter }: { notBefore: Date; notAfter: Date }): number =>
  notAfter.getTime() - (notAfter.getTime() - notBefore.getTime()) / 3

/**
 * Keeps a process in certificates: claims the first one with a one-time token, and fetches the next one before it ends.
 * It goes on trying; a token that was not used yet is used, also where there is a certificate.
 */
export class Enrolment extends EventEmitter<EnrolmentEvents> implements Service {
  private readonly options: EnrolmentOptions
  private readonly files: CredentialFiles
  private readonly client: EstClient
  private readonly abort = new AbortController()
  private work: Promise<void> | undefined
  private current: StoredCertificate | undefined
  private tokenRefused = false
  /** When to ask whom the fleet believes; monotonic, in ms. */
  private trustDueAt = 0

  constructor(options: EnrolmentOptions) {
    super()
    this.options = options
    this.files = new CredentialFiles(options.files)
    this.client = new EstClient(options.access.url)
  }

  /** Whether there is a certificate to log in with. */
  get ready(): boolean {
    return this.current !== undefined && this.current.notAfter.getTime() > Date.now()
  }

  /** Reads what there is, and does the rest in its own time. */
  async start(): Promise<void> {
    await this.read()
    this.work = this.run()
  }

  async stop(): Promise<void> {
    this.abort.abort()
    await this.work
  }

  private async run(): Promise<void> {
    const { signal } = this.abort
    for (let failures = 0; !signal.aborted; ) {
      let step: 'claim' | 'renew' = 'claim'
      try {
        if (!this.ready) await this.read() // A person may have put one there.
        step = this.mustClaim() ? 'claim' : 'renew'
        const dueIn = step === 'claim' || !this.current ? 0 : renewalTime(this.current) - Date.now()
        if (dueIn > 0) {
          if (performance.now() >= this.trustDueAt) await this.askWhomToBelieve(signal)
          await delay(Math.min(dueIn, lookMs, this.trustDueAt - performance.now()), undefined, { signal })
          continue
        }
        await (step === 'claim' ? this.claim(signal) : this.renew(signal))
        await this.read()
        // Before anybody logs in with it: a broker may show a certificate of the next authority by now.
        await this.askWhomToBelieve(signal)
        failures = 0
        this.options.logger.info({ step, until: this.current?.notAfter }, 'certificate received')
        this.emit('certified')
      } catch (thrown) {
        if (signal.aborted) return
        const error = toFaultlineError(thrown)
        this.options.logger.warn({ code: error.code, error: error.message, step }, 'no certificate received')
        if (error.code === 'CLAIM_REFUSED' && this.ready) this.tokenRefused = true
        this.emit('problem', error)
        const pause = Math.min(
          longestPauseMs[step],
          (this.options.firstPauseMs ?? 1_000) * 2 ** Math.min(failures++, 16),
        )
        await delay(pause * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {})
      }
    }
  }

  /** With a token it has not used; and without a good certificate, since nothing else is left to try. */
  private mustClaim(): boolean {
    const { token } = this.options.access
    if (token === undefined || this.tokenRefused) return !this.ready
    return !this.ready || this.current?.claim !== tokenDigest(token)
  }

  private async claim(signal: AbortSignal): Promise<void> {
    const { identity, access } = this.options
    const { token, fingerprint } = access
    if (token === undefined || fingerprint === undefined) {
      throw new FaultlineError(
        'CERTIFICATE_INVALID',
        `${this.options.files.certificate} holds no certificate of ${identity.name} that is still good, and there is no token to claim one with`,
      )
    }
    const ca = await this.client.authority(fingerprint, signal)
    const csr = await this.files.request(identity.name)
    const certificate = await this.client.enroll({ name: identity.name, token, ca, csr }, signal)
    await this.files.accept(certificate, { claim: tokenDigest(token), ca })
  }

  private async renew(signal: AbortSignal): Promise<void> {
    const csr = await this.files.request(this.options.identity.name)
    const certificate = await this.client.reenroll(await this.files.tls(), csr, signal)
    await this.files.accept(certificate, { claim: this.current?.claim })
  }

  /**
   * Fetches the authorities that the fleet believes (RFC 7030, 4.1): its next one is here before anything rests on it. When this
   * fails, what was believed is.
   */
  private async askWhomToBelieve(signal: AbortSignal): Promise<void> {
    const { logger, trustIntervalMs = defaultTrustIntervalMs } = this.options
    try {
      const pems = await this.client.authorities(await this.files.tls(), signal)
      this.trustDueAt = performance.now() + trustIntervalMs
      if (await this.files.believe(pems.join('')))
        logger.info({ authorities: pems.map(pem => readCertificate(pem).fingerprint) }, 'authorities received')
    } catch (thrown) {
      this.trustDueAt = performance.now() + Math.min(lookMs, trustIntervalMs)
      logger.debug({ error: toFaultlineError(thrown).message }, 'not told whom to believe')
    }
  }

  private async read(): Promise<void> {
    const found = await this.files.current()
    this.current = found?.name === this.options.identity.name ? found : undefined
  }
}
