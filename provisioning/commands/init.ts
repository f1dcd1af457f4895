import { type Command, parseInteger } from '@faultline/runtime'
import { authorityPaths, initAuthority } from '../authority.ts'
import { say } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

export function addInit(program: Command): void {
  withRegistry(program.command('init'))
    .description("make the fleet's certificate authority, beside the registry; never a second time")
    .option('--name <name>', 'what the certificate calls the fleet', 'Faultline fleet')
    .option('--years <years>', 'how long it is good: no certificate outlives it', parseInteger(1, 50), 20)
    .action(init)
}

async function init({ registry: path, name, years }: { registry: string; name: string; years: number }): Promise<void> {
  await withOpen(
    path,
    async registry => {
      const { fingerprint } = await initAuthority(path, name, years * 365)
      registry.record('authority-created', 'registry', `fingerprint ${fingerprint}`)
      const { certificate, key } = authorityPaths(path)
      say(
        `authority    ${certificate}\nits key      ${key} (only you can read it; keep a copy where nobody else can)\n` +
          `fingerprint  ${fingerprint}`,
      )
    },
    { make: true },
  )
}
