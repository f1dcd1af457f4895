import { readFile } from 'node:fs/promises'
import { FaultlineError, parseIdentity, publicKeyText, toFaultlineError } from '@faultline/protocol'
import {
  type Command,
  createRequest,
  parseBrokerUrl,
  parseInteger,
  readCertificate,
  signRequest,
} from '@faultline/runtime'
import { claimingAccess } from '../agent-config.ts'
import { loadAuthority, loadAuthorityCertificate } from '../authority.ts'
import { deviceDirectories, devicePackage, packageName } from '../device-package.ts'
import { writeNewFile } from '../own-file.ts'
import type { Registry } from '../registry.ts'
import { type ClaimFlags, withClaim } from './options.ts'
import { say } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

interface Flags extends ClaimFlags {
  registry: string
  brokerUrl: string
  certificate?: boolean
  days: number
  agent?: string
  out?: string
  trust?: string[]
}

export function addPackage(program: Command): void {
  withClaim(withRegistry(program.command('package')))
    .description('write a tar.gz that one enrolled device is set up from; what it has already stays good')
    .argument('<name>', 'such as devices/plant-a/press-3')
    .requiredOption('--broker-url <url>', 'how the device reaches the broker', parseBrokerUrl)
    .option('--certificate', 'a certificate and a key made here, for a device that cannot reach `serve` at first')
    .option('--days <days>', 'how long that certificate is good', parseInteger(1, 3_650), 90)
    .option('--agent <file>', 'the agent package to put in: what `agent-package` wrote; else the installer is given it')
    .option('--trust <key...>', 'public keys of those whose models and updates it takes, or files that hold one')
    .option('--out <file>', 'must not be there yet (default: faultline-SITE-DEVICE.tar.gz)')
    .action(packageDevice)
}

async function packageDevice(name: string, flags: Flags): Promise<void> {
  const identity = parseIdentity(name)
  if (identity.role !== 'device') throw new FaultlineError('CONFIG_INVALID', `${name} is no device`)
  const { pem: ca, fingerprint } = await loadAuthorityCertificate(flags.registry)
  const { enrolmentUrl, brokerUrl: url } = flags
  const access = (token: string) =>
    claimingAccess(deviceDirectories.state, { url, enrolmentUrl, fingerprint, claim: { token, expiresAt: '' } })
  const certifiedAccess = { ...access('x'), enrolment: { url: enrolmentUrl } }
  const agent = flags.agent === undefined ? undefined : await readAgent(flags.agent)
  const trustedKeys = flags.trust && (await Promise.all(flags.trust.map(readTrusted)))
  const out = flags.out ?? `${packageName(identity)}.tar.gz`
  await withOpen(flags.registry, async registry => {
    await writeNewFile(out, async () => {
      if (!flags.certificate) {
        const { token } = registry.openClaim(name, flags.claimHours, 'packaged')
        return devicePackage(identity, { broker: access(token), ca, agent, trustedKeys })
      }
      const certified = await certify(registry, name, flags)
      return devicePackage(identity, { broker: certifiedAccess, ca, certified, agent, trustedKeys })
    })
    const what = flags.certificate ? 'a private key' : 'a one-time token'
    say(`packaged ${name}\n${out} (holds ${what}; only you can read it)`)
  })
}

const readAgent = (file: string): Promise<Buffer> =>
  readFile(file).catch(cause => {
    throw toFaultlineError(cause, 'CONFIG_UNREADABLE')
  })

/** A public key, given as itself or as a file that holds it. */
async function readTrusted(text: string): Promise<string> {
  const key = (await readFile(text, 'utf8').catch(() => text)).trim()
  if (publicKeyText.safeParse(key).success) return key
  throw new FaultlineError('CONFIG_UNREADABLE', `"${text}" is neither a public key nor a file that holds one`)
}

async function certify(registry: Registry, name: string, { registry: path, days }: Flags) {
  const authority = await loadAuthority(path)
  registry.show(name)
  const { request, key } = await createRequest(name)
  const certificate = await signRequest(authority, request, { name, days })
  registry.addCertificate(
    name,
    { ...readCertificate(certificate), authority: authority.fingerprint },
    { action: 'packaged' },
  )
  return { certificate, key }
}
