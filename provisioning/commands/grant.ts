import { loadAuthorityCertificate } from '../authority.ts'
import type { Grant, Granted, Registry } from '../registry.ts'
import type { ClaimFlags } from './options.ts'
import { minute } from './output.ts'

/** By claim when that was asked for, and for what has no secret; by secret otherwise. Throws `AUTHORITY_MISSING`. */
export async function chooseGrant(
  registry: Registry,
  name: string,
  { registry: path, claim, claimHours }: ClaimFlags & { registry: string; claim?: boolean },
): Promise<Grant> {
  const { hasSecret, certificateUntil, claimUntil } = registry.show(name)
  const byClaim = claim ?? (!hasSecret && (certificateUntil ?? claimUntil) !== undefined)
  if (!byClaim) return { kind: 'secret' }
  await loadAuthorityCertificate(path)
  return { kind: 'claim', validMs: claimHours }
}

/** What was granted, and where it goes. */
export async function grantLines(granted: Granted, path: string, agent: boolean): Promise<string[]> {
  if (granted.kind === 'secret') {
    return [
      `secret  ${granted.secret}`,
      ...(agent ? ['Put it in broker.secret of the file its agent starts from.'] : []),
    ]
  }
  const { fingerprint } = await loadAuthorityCertificate(path)
  return [
    `token        ${granted.token}`,
    `good until   ${minute(granted.expiresAt)}`,
    `fingerprint  ${fingerprint}`,
    'Put token and fingerprint in broker.enrolment of the file its agent starts from, and start it again.',
  ]
}
