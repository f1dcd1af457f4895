export { type AuditEntry, Registry, type RegistryEntry, type RegistryFilter } from './registry.ts'
