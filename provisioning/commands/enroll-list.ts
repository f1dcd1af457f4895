import { Progress } from '@faultline/runtime'
import { loadAuthorityCertificate } from '../authority.ts'
import { readDeviceList } from '../device-list.ts'
import { writeNewFile } from '../own-file.ts'
import type { Registry } from '../registry.ts'
import { minute, say } from './output.ts'

/** Enrols the devices of a CSV file, all or none, and writes their tokens into another. Throws `CSV_INVALID`. */
export async function enrollList(
  registry: Registry,
  { path, csv, out, validMs }: { path: string; csv: string; out: string; validMs: number },
): Promise<void> {
  const { fingerprint } = await loadAuthorityCertificate(path)
  const enrolled = new Set(registry.list({ role: 'device' }).map(({ name }) => name))
  const identities = await readDeviceList(csv, name => enrolled.has(name))
  let expiresAt = ''
  await writeNewFile(out, async () => {
    const progress = new Progress('enrolling', identities.length)
    let done = 0
    try {
      const claims = registry.enrollAll(identities, validMs, () => progress.update(++done))
      expiresAt = claims[0]!.expiresAt
      const rows = identities.map(({ site, id }, i) => [site, id, claims[i]!.token, claims[i]!.expiresAt].join(','))
      return `site,device,token,expires\n${rows.join('\n')}\n`
    } finally {
      progress.stop()
    }
  })
  say(
    `enrolled ${identities.length} devices\ntheir tokens are in ${out} (only you can read it), good until ${minute(expiresAt)}\n` +
      `authority   ${fingerprint}`,
  )
}
