import { FaultlineError, type Identity, parseIdentity } from '@faultline/protocol'
import { brokerAccess } from '@faultline/runtime'
import { storeSettings } from '@faultline/telemetry'
import { z } from 'zod'
import { flowUser } from './users.ts'

/** The file of `npm run flows -- --config FILE`. */
export const flowsConfig = z.strictObject({
  userDirectory: z
    .string()
    .min(1)
    .describe('Where Node-RED keeps flows, credentials and who is logged in; made when missing'),
  host: z.string().min(1).default('127.0.0.1').describe('Address to listen on'),
  plain: z
    .enum(['loopback', 'anywhere'])
    .default('loopback')
    .describe('Pages, passwords and cookies over plain HTTP: only where host is loopback, or wherever it is'),
  tls: z
    .strictObject({
      certificate: z.string().min(1).describe('PEM file; read again when it changes, as is the next'),
      key: z.string().min(1).describe('PEM file of its private key'),
    })
    .optional()
    .describe('HTTPS in place of HTTP'),
  port: z.int().min(0).max(65_535).default(1880).describe('0 takes any free port'),
  broker: brokerAccess({
    identity: z.string().describe('Name of the enrolled identity: flows/{id}'),
  }),
  store: storeSettings.optional().describe('The telemetry store that query nodes ask; opened for reading'),
  bundles: z
    .array(z.string().min(1))
    .optional()
    .describe("Directories of the devices' model bundles; the page of decisions shows their calibration"),
  users: z.array(flowUser).min(1).optional().describe('Who may log in, in place of the one user "admin"'),
  adminPassword: z
    .string()
    .min(8)
    .optional()
    .describe('Of the user "admin"; when absent one is made at the first start and printed once'),
})

export type FlowsConfig = z.infer<typeof flowsConfig>

/** The identity a configuration names. Throws `CONFIG_INVALID` for one of another role. */
export function flowsIdentity(name: string): Identity {
  const identity = parseIdentity(name)
  if (identity.role === 'flows') return identity
  throw new FaultlineError(
    'CONFIG_INVALID',
    `broker.identity: "${name}" has the role ${identity.role}, expected flows/{id}`,
  )
}
