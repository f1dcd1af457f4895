import { readFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { createGzip } from 'node:zlib'
import type { Identity } from '@faultline/protocol'
import type { BrokerAccess, CertifiedKey } from '@faultline/runtime'
import { pack } from 'tar-stream'
import { agentConfig } from './agent-config.ts'

/** Where the installer puts things on the device. */
export const deviceDirectories = { software: '/opt/faultline', state: '/var/lib/faultline' } as const

/**
 * What one device is set up from, as a tar.gz of one directory: configuration, the authority's certificate, a
 * certificate with its key where the device is not to claim one, the installer, and the agent package if one is given.
 */
export async function devicePackage(
  identity: Identity,
  {
    broker,
    ca,
    certified,
    agent,
    trustedKeys,
  }: {
    broker: BrokerAccess
    ca: string
    certified?: CertifiedKey
    agent?: Buffer | undefined
    trustedKeys?: readonly string[] | undefined
  },
): Promise<Buffer> {
  const changes = {
    dataDirectory: deviceDirectories.state,
    model: `${deviceDirectories.software}/models/bearing-local`,
    statusPage: {},
    ...(trustedKeys && { trustedKeys }),
  }
  const config = agentConfig(identity, broker, changes, 'After a change: sudo systemctl restart faultline-device-agent')
  const files: [name: string, content: string | Buffer, mode: number][] = [
    ['device.yaml', config, 0o600],
    ['ca.pem', ca, 0o644],
    ...(certified
      ? ([
          ['agent.pem', certified.certificate, 0o644],
          ['agent.key', certified.key, 0o600],
        ] as [string, string, number][])
      : []),
    ['install.sh', await readFile(new URL('./installer/install.sh', import.meta.url), 'utf8'), 0o755],
    ...(agent ? ([['agent.tar.gz', agent, 0o644]] as [string, Buffer, number][]) : []),
  ]
  const archive = pack()
  const directory = packageName(identity)
  archive.entry({ name: directory, type: 'directory', mode: 0o700 })
  for (const [name, content, mode] of files) archive.entry({ name: `${directory}/${name}`, mode }, content)
  archive.finalize()
  return buffer(archive.pipe(createGzip()))
}

export const packageName = ({ site, id }: Identity): string => `faultline-${site}-${id}`
