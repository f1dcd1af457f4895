import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { FaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import type { EnrolmentAccess } from './enrolment.ts'

const file = z.string().min(1).optional()

/** Of a connection on which nothing is said, so that a dead one is noticed. */
export const defaultKeepAliveS = 15

const url = z.url({ protocol: /^(mqtts?|wss?)$/ }).describe('mqtt://, mqtts://, ws:// or wss://')
const credentials = {
  secret: z.string().min(1).optional().describe('What enrolment gave; none beside a certificate'),
  ca: file.describe("PEM file of the authority that signed the broker's certificate; the system's own when absent"),
  certificate: file.describe('PEM file of a certificate to log in with; read again at every connection'),
  key: file.describe('PEM file of its private key'),
  keepAliveS: z
    .int()
    .min(5)
    .max(3_600)
    .default(defaultKeepAliveS)
    .describe(
      'Seconds of silence until a ping, some 200 bytes of a link; a dead connection is noticed after 1.5 of them',
    ),
  enrolment: z
    .strictObject({
      url: z.url({ protocol: /^https$/ }).describe('Address of `npm run provision -- serve`'),
      token: z.string().min(1).optional().describe('One-time token for the first certificate; used once'),
      fingerprint: z
        .string()
        .regex(/^([0-9a-f]{2}:?){32}$/i, 'must be a SHA-256 in hexadecimal')
        .optional()
        .describe("SHA-256 of the fleet's authority, as `init` printed it; goes with token"),
    })
    .optional()
    .describe('Where certificates are fetched and renewed; they are put where ca, certificate and key say'),
}

/** How to reach the broker. Files are paths, read when a connection is made. */
export interface BrokerAccess {
  /** `mqtt://host:port`, `mqtts://…`, `ws://…`, `wss://…`. */
  url: string
  secret?: string | undefined
  ca?: string | undefined
  certificate?: string | undefined
  key?: string | undefined
  /** Seconds of silence until a ping (MQTT 3.1.1, 3.1.2.10); 15 when absent. */
  keepAliveS?: number | undefined
  /** Where the three are fetched and renewed. */
  enrolment?: EnrolmentAccess | undefined
}

/** The entry `broker` of an agent's configuration, with what else it has to say. */
export const brokerAccess = <S extends z.ZodRawShape>(more: S) =>
  z
    .strictObject({ url, ...more, ...credentials })
    .superRefine((value, context) => {
      const problem = accessProblem(value as unknown as BrokerAccess)
      if (problem) context.addIssue({ code: 'custom', message: problem })
    })
    .describe('How the broker is reached')

/** What is wrong with an access, or undefined. */
export function accessProblem({ url, secret, ca, certificate, key, enrolment }: BrokerAccess): string | undefined {
  if (enrolment && [ca, certificate, key].includes(undefined))
    return 'enrolment needs ca, certificate and key: where they are put'
  if (enrolment && (enrolment.token === undefined) !== (enrolment.fingerprint === undefined))
    return 'token and fingerprint of enrolment go together'
  if ((certificate === undefined) !== (key === undefined)) return 'certificate and key go together'
  if (secret === undefined && certificate === undefined) return 'give secret, or certificate and key'
  if ((ca ?? certificate) !== undefined && !isSecure(url)) return 'ca and certificate need mqtts:// or wss://'
  return undefined
}

export const isSecure = (url: string): boolean => /^(mqtts|wss):/.test(url)

/**
 * What a TLS connection takes: `ca`, `cert` and `key` as PEM. Throws `CERTIFICATE_INVALID` for a file that cannot be
 * read or holds something else, and for a certificate that is not the key's.
 */
export async function readTlsFiles(
  access: Pick<BrokerAccess, 'ca' | 'certificate' | 'key'>,
): Promise<{ ca?: string; cert?: string; key?: string }> {
  const [ca, cert, key] = await Promise.all([access.ca, access.certificate, access.key].map(readPem))
  const files = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) }
  try {
    createSecureContext(files) // A connection would throw where nobody catches it.
  } catch (cause) {
    const paths = [access.ca, access.certificate, access.key].filter(path => path !== undefined)
    throw new FaultlineError('CERTIFICATE_INVALID', `${paths.join(', ')}: ${(cause as Error).message}`, { cause })
  }
  return files
}

async function readPem(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new FaultlineError('CERTIFICATE_INVALID', `cannot read ${path}: ${(cause as Error).message}`, { cause })
  }
}
