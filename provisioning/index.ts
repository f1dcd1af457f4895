export type { AuditEntry } from './audit-log.ts'
export { Registry, type RegistryFilter } from './registry.ts'
export type { RegistryEntry } from './registry-entry.ts'
