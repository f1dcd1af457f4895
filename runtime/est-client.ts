import { type RequestOptions, request } from 'node:https'
import { type ErrorCode, errorCodes, FaultlineError } from '@faultline/protocol'
import { readCertificate } from './certificates.ts'
import { bodyOfPem, estPaths, estTypes, unbundleCertificates } from './est.ts'

const timeoutMs = 20_000
const maximumAnswerBytes = 65_536

/** Certificates and keys are PEM texts. */
type Tls = Pick<RequestOptions, 'ca' | 'cert' | 'key' | 'rejectUnauthorized'>

/**
 * The device's side of enrolment (RFC 7030). Failures throw `ENROLMENT_UNREACHABLE` where there was no answer, and the
 * service's own codes, such as `CLAIM_REFUSED`, where there was one.
 */
export class EstClient {
  private readonly url: string

  constructor(url: string) {
    this.url = url
  }

  /**
   * The fleet's authority, known by the fingerprint of its certificate (RFC 7030, 4.1.1: the one answer that is not
   * trusted for where it comes from). Everything else is asked of whom it vouches for.
   */
  async authority(fingerprint: string, signal: AbortSignal): Promise<string> {
    const pems = await this.ask(estPaths.authority, { rejectUnauthorized: false }, signal)
    const wanted = fingerprint.replaceAll(':', '').toLowerCase()
    const found = pems.find(pem => readCertificate(pem).fingerprint === wanted)
    if (found) return found
    throw new FaultlineError(
      'ENROLMENT_UNREACHABLE',
      `${this.url} is of another fleet: its authority has the fingerprint ${readCertificate(pems[0]!).fingerprint}`,
    )
  }

  /** All that the fleet believes, asked of whom it believes already, in the name of a certificate. */
  async authorities(tls: { ca: string; cert: string; key: string }, signal: AbortSignal): Promise<string[]> {
    return this.ask(estPaths.authority, tls, signal)
  }

  /** A first certificate, for a name and its one-time token. */
  async enroll(
    { name, token, ca, csr }: { name: string; token: string; ca: string; csr: string },
    signal: AbortSignal,
  ): Promise<string> {
    const authorization = `Basic ${Buffer.from(`${name}:${token}`).toString('base64')}`
    return (await this.ask(estPaths.enroll, { ca }, signal, { csr, authorization }))[0]!
  }

  /** The next certificate, for one that is still good. */
  async reenroll(tls: { ca: string; cert: string; key: string }, csr: string, signal: AbortSignal): Promise<string> {
    return (await this.ask(estPaths.reenroll, tls, signal, { csr }))[0]!
  }

  private async ask(
    path: string,
    tls: Tls,
    signal: AbortSignal,
    post?: { csr: string; authorization?: string },
  ): Promise<string[]> {
    const { status, body } = await this.exchange(path, tls, signal, post).catch((cause: Error) => {
      throw new FaultlineError('ENROLMENT_UNREACHABLE', `${this.url}: ${cause.message}`, { cause })
    })
    if (status === 200) return unbundleCertificates(body)
    const [, code = '', message = body.trim()] = /^([A-Z_]+): (.*)/.exec(body) ?? []
    throw new FaultlineError(
      Object.hasOwn(errorCodes, code) ? (code as ErrorCode) : 'ENROLMENT_UNREACHABLE',
      `${this.url} answered ${status}: ${message.slice(0, 500)}`,
    )
  }

  private exchange(
    path: string,
    tls: Tls,
    signal: AbortSignal,
    post?: { csr: string; authorization?: string },
  ): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const sent = request(new URL(path, this.url), {
        ...tls,
        agent: false, // A connection with a certificate is nobody else's.
        minVersion: 'TLSv1.2',
        method: post ? 'POST' : 'GET',
        headers: {
          ...(post && { 'content-type': estTypes.request, 'content-transfer-encoding': 'base64' }),
          ...(post?.authorization !== undefined && { authorization: post.authorization }),
        },
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      })
      sent.on('error', reject)
      sent.on('response', response => {
        let body = ''
        response.setEncoding('latin1').on('data', (text: string) => {
          body += text
          if (body.length > maximumAnswerBytes) sent.destroy(new Error('the answer is too long'))
        })
        response.on('error', reject)
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
      })
      sent.end(post && bodyOfPem(post.csr))
    })
  }
}
