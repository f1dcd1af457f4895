import { dirname, join } from 'node:path'
import { type Command, createServerCertificate, parseInteger, readCertificate } from '@faultline/runtime'
import { loadAuthority } from '../authority.ts'
import { replaceFile, writeNewFile } from '../own-file.ts'
import { day, say } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

interface Flags {
  registry: string
  host: string[]
  days: number
  out?: string
  replace?: boolean
}

export function addServerCertificate(program: Command): void {
  withRegistry(program.command('server-certificate'))
    .description('make a key and a certificate for a broker')
    .requiredOption('--host <names...>', 'host names and addresses that clients reach it under')
    .option('--days <days>', 'how long it is good', parseInteger(1, 3_650), 365)
    .option('--out <stem>', 'writes STEM.pem and STEM.key (default: broker, beside the registry)')
    .option('--replace', 'in the place of those there are; a running broker takes them up by itself')
    .action(certify)
}

async function certify({ registry: path, host, days, replace, ...flags }: Flags): Promise<void> {
  const out = flags.out ?? join(dirname(path), 'broker')
  await withOpen(path, async registry => {
    const { certificate, key } = await createServerCertificate(await loadAuthority(path), host, days)
    const files = { key: `${out}.key`, certificate: `${out}.pem` }
    if (replace) {
      await replaceFile(files.key, key, 0o600)
      await replaceFile(files.certificate, certificate, 0o644)
    } else {
      await writeNewFile(files.key, async () => key)
      await writeNewFile(files.certificate, async () => certificate, 0o644)
    }
    const { notAfter } = readCertificate(certificate)
    registry.record('server-certified', 'registry', `${host.join(', ')}, until ${notAfter.toISOString()}`)
    say(
      `certificate  ${files.certificate}, until ${day(notAfter.toISOString())}\nits key      ${files.key} (only you can read it)`,
    )
  })
}
