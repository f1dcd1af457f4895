import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { loadX509 } from './certificates.ts'

/**
 * Enrolment over Secure Transport (RFC 7030), the part that a fleet needs: where the authority's certificate, a first
 * certificate (HTTP Basic, RFC 7617: name and one-time token) and the next one (client certificate) are to be had.
 */
export const estPaths = {
  authority: '/.well-known/est/cacerts',
  enroll: '/.well-known/est/simpleenroll',
  reenroll: '/.well-known/est/simplereenroll',
} as const

/** Media types: of a request (PKCS #10) and of certificates (PKCS #7, certs-only); both travel as base64 (RFC 7030, 4). */
export const estTypes = {
  request: 'application/pkcs10',
  certificates: 'application/pkcs7-mime; smime-type=certs-only',
} as const

/** What stands between the lines of a PEM text. */
export const bodyOfPem = (pem: string): string => pem.replace(/-----[^-]*-----/g, '').trim()

/** The PEM text of a request that came as base64. */
export const requestFromBody = (body: string): string =>
  `-----BEGIN CERTIFICATE REQUEST-----\n${bodyOfPem(body)}\n-----END CERTIFICATE REQUEST-----\n`

/** Certificates (PEM) as a certs-only PKCS #7, base64. */
export async function bundleCertificates(pems: readonly string[]): Promise<string> {
  const x509 = await loadX509()
  const bundle = new x509.X509Certificates(pems.map(pem => new x509.X509Certificate(pem)))
  return Buffer.from(bundle.export('raw')).toString('base64')
}

/** The reverse of `bundleCertificates`. Throws `CERTIFICATE_INVALID`. */
export async function unbundleCertificates(body: string): Promise<string[]> {
  const x509 = await loadX509()
  try {
    const pems = new x509.X509Certificates(Buffer.from(bodyOfPem(body), 'base64')).map(
      one => `${one.toString('pem')}\n`,
    )
    if (pems.length === 0) throw new FaultlineError('CERTIFICATE_INVALID', 'an answer without a certificate')
    return pems
  } catch (cause) {
    throw toFaultlineError(cause, 'CERTIFICATE_INVALID', 'certificates')
  }
}
