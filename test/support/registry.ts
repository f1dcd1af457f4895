import type { RegistryReader } from '@faultline/protocol'
import type { Registry } from '@faultline/provisioning'

/** Has all rotations that overlap end so many ms from now: a short overlap might be over before a test on a busy machine has used it. */
export function endOverlap(registry: Registry, inMs: number): void {
  const endsAt = new Date(Date.now() + inMs).toISOString()
  registry.database.change(database => database.prepare('UPDATE former_secrets SET ends_at = ?').run(endsAt))
}

/** A registry that never changes and lists no certificates. */
export const fixedRegistry = (credential: RegistryReader['credential']): RegistryReader => ({
  credential,
  certificate: () => undefined,
  version: () => '',
})
