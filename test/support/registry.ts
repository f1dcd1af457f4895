import type { RegistryReader } from '@faultline/protocol'

/** A registry that never changes and lists no certificates. */
export const fixedRegistry = (credential: RegistryReader['credential']): RegistryReader => ({
  credential,
  certificate: () => undefined,
  version: () => '',
})
