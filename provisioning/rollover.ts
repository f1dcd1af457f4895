import { existsSync } from 'node:fs'
import { copyFile, rename, rm } from 'node:fs/promises'
import { FaultlineError } from '@faultline/protocol'
import { createAuthority, readCertificate } from '@faultline/runtime'
import { type Authority, authorityPaths, loadAuthority } from './authority.ts'
import { replaceFile } from './own-file.ts'
import type { Registry } from './registry.ts'

/**
 * How far an authority has taken the place of another (after RFC 4210, 4.4: trust in the new key is there before anything rests on it).
 * `settled`: there is one. `begun`: the next is believed beside it, and signs nothing. `switched`: the next signs, the former is still
 * believed and vouches for the provisioning service.
 */
export type RolloverPhase = 'settled' | 'begun' | 'switched'

export interface RolloverStatus {
  phase: RolloverPhase
  /** The authorities that are believed, the oldest first. */
  authorities: { fingerprint: string; notAfter: Date; signs: boolean }[]
  /** Identities with a certificate that is good. */
  certified: string[]
  /** Those of them that the next step would lock out: not told of the next authority, or without a certificate of it. */
  waitingFor: string[]
}

export async function rolloverStatus(registry: Registry, path: string): Promise<RolloverStatus> {
  const authority = await loadAuthority(path)
  const phase = phaseOf(authority)
  const authorities = authority.trust.map(pem => {
    const { fingerprint, notAfter } = readCertificate(pem)
    return { fingerprint, notAfter, signs: fingerprint === authority.fingerprint }
  })
  const certified = registry.list().filter(({ certificateUntil }) => certificateUntil !== undefined)
  const newest = authorities.at(-1)!.fingerprint
  const waiting = {
    settled: [],
    begun: certified.filter(({ believes }) => believes !== newest),
    switched: certified.filter(({ certifiedBy }) => certifiedBy !== newest),
  }[phase]
  return {
    phase,
    authorities,
    certified: certified.map(({ name }) => name),
    waitingFor: waiting.map(({ name }) => name),
  }
}

/** Makes the next authority, to be believed beside the one there is. Throws `ROLLOVER_REFUSED`. */
export async function beginRollover(registry: Registry, path: string, name: string, days: number): Promise<void> {
  const authority = await loadAuthority(path)
  requirePhase(authority, 'settled')
  const paths = authorityPaths(path)
  const next = await createAuthority(name, days)
  // The rollover has begun once the certificate is in its place; a key before that is of no use to anybody.
  await replaceFile(paths.nextKey, next.key, 0o600)
  await replaceFile(paths.certificate, [...authority.trust, `${next.certificate.trimEnd()}\n`].join(''), 0o644)
  registry.record('rollover-begun', 'registry', `next ${readCertificate(next.certificate).fingerprint}`)
}

/** Has the next authority sign from now on. Throws `ROLLOVER_REFUSED` while somebody would be locked out, unless forced. */
export async function switchRollover(registry: Registry, path: string, force = false): Promise<void> {
  const authority = await loadAuthority(path)
  requirePhase(authority, 'begun')
  if (!force) await requireNobody(registry, path, 'have not been told of the next authority')
  const paths = authorityPaths(path)
  if (!existsSync(paths.nextKey)) throw new FaultlineError('AUTHORITY_MISSING', `there is no ${paths.nextKey}`)
  // Whatever happens in between, the key that signs is one or the other, and the former is not lost.
  await copyFile(paths.key, paths.formerKey)
  await rename(paths.nextKey, paths.key)
  registry.record('rollover-switched', 'registry', `to ${(await loadAuthority(path)).fingerprint}`)
}

/** Ends belief in the former authority, and deletes its key. Throws `ROLLOVER_REFUSED` as `switchRollover`. */
export async function finishRollover(registry: Registry, path: string, force = false): Promise<void> {
  const authority = await loadAuthority(path)
  requirePhase(authority, 'switched')
  if (!force) {
    requireBrokers(registry)
    await requireNobody(registry, path, 'have no certificate of the new authority')
  }
  const paths = authorityPaths(path)
  await replaceFile(paths.certificate, authority.certificate, 0o644)
  await rm(paths.formerKey, { force: true })
  registry.record('rollover-finished', 'registry', `only ${authority.fingerprint} is believed`)
}

function phaseOf({ trust, certificate }: Authority): RolloverPhase {
  if (trust.length === 1) return 'settled'
  return certificate === trust[0] ? 'begun' : 'switched'
}

function requirePhase(authority: Authority, wanted: RolloverPhase): void {
  const phase = phaseOf(authority)
  if (phase === wanted) return
  const next = { settled: 'none has begun', begun: 'it has begun: next is switch', switched: 'next is finish' }[phase]
  throw new FaultlineError('ROLLOVER_REFUSED', `not now: ${next}; nothing was changed`)
}

/** Brokers show certificates of the new authority before it is the only one believed; what made them is in the log. */
function requireBrokers(registry: Registry): void {
  const actions = registry.history('registry').map(({ action }) => action)
  if (actions.lastIndexOf('server-certified') > actions.lastIndexOf('rollover-switched')) return
  throw new FaultlineError(
    'ROLLOVER_REFUSED',
    'no broker got a certificate of the new authority: run server-certificate --replace; nothing was changed',
  )
}

async function requireNobody(registry: Registry, path: string, why: string): Promise<void> {
  const { waitingFor } = await rolloverStatus(registry, path)
  if (waitingFor.length === 0) return
  const some = waitingFor.slice(0, 5).join(', ')
  const more = waitingFor.length > 5 ? ` and ${waitingFor.length - 5} more` : ''
  throw new FaultlineError('ROLLOVER_REFUSED', `${some}${more} ${why}; nothing was changed`)
}
