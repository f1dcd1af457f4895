import { readFile } from 'node:fs/promises'
import { FaultlineError, type Identity, parseIdentity, toFaultlineError } from '@faultline/protocol'
import { accessProblem, type BrokerAccess, type Command, parseBrokerUrl } from '@faultline/runtime'

/** How a command itself reaches the broker. */
export interface BrokerFlags {
  brokerUrl: string
  identity?: string
  secretFile?: string
  ca?: string
  certificate?: string
  key?: string
}

export const withBroker = (command: Command): Command =>
  command
    .option('--broker-url <url>', 'the broker', parseBrokerUrl, 'mqtt://127.0.0.1:1883')
    .option('--identity <name>', 'an operator that is enrolled, such as operators/rollouts, to run rollouts as')
    .option('--secret-file <file>', 'the file that holds its secret (default: the variable FAULTLINE_SECRET)')
    .option('--ca <file>', "the certificate authority of the broker's certificate")
    .option('--certificate <file>', 'a certificate to log in with, in place of a secret')
    .option('--key <file>', 'its private key')

/** Throws `CONFIG_INVALID` and `CONFIG_UNREADABLE`. */
export async function brokerAccessOf(flags: BrokerFlags): Promise<{ broker: BrokerAccess; identity: Identity }> {
  const { brokerUrl: url, secretFile, ca, certificate, key } = flags
  if (flags.identity === undefined)
    throw new FaultlineError(
      'CONFIG_INVALID',
      '--identity: name an operator that is enrolled, such as operators/rollouts',
    )
  const identity = parseIdentity(flags.identity)
  if (identity.role !== 'operator')
    throw new FaultlineError('CONFIG_INVALID', `--identity: ${identity.name} is not an operator`)
  const secret = secretFile === undefined ? process.env.FAULTLINE_SECRET : await readSecret(secretFile)
  const broker = { url, secret: certificate ? undefined : secret, ca, certificate, key }
  const problem = accessProblem(broker)
  if (problem)
    throw new FaultlineError('CONFIG_INVALID', `${problem}: --secret-file or FAULTLINE_SECRET, --certificate, --key`)
  return { broker, identity }
}

const readSecret = async (file: string): Promise<string> =>
  (
    await readFile(file, 'utf8').catch(cause => {
      throw toFaultlineError(cause, 'CONFIG_UNREADABLE')
    })
  ).trim()
