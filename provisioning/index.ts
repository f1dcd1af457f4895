export type { AuditEntry } from './audit-log.ts'
export { EstService, type EstServiceOptions } from './est-service.ts'
export { Registry, type RegistryFilter } from './registry.ts'
export type { RegistryEntry } from './registry-entry.ts'
