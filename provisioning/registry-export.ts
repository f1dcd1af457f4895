import { FaultlineError, parseIdentity } from '@faultline/protocol'
import type { DatabaseSync } from '@faultline/runtime'
import { z } from 'zod'
import { recordChange } from './audit-log.ts'
import type { RegistryDatabase } from './registry-database.ts'

const text = z.string()
const textOrNull = text.nullable()
/** Not in exports of before there was such a column. */
const laterColumn = textOrNull.default(null)
const name = text.refine(value => {
  try {
    return parseIdentity(value).name === value
  } catch {
    return false
  }
}, 'must be the name of an identity')

/** Tables and columns of an export, in the order in which they refer to each other. */
const tables = {
  identities: z.strictObject({
    name,
    role: text,
    site: textOrNull,
    secret_hash: text,
    enrolled_at: text,
    rotated_at: textOrNull,
    revoked_at: textOrNull,
    believes: laterColumn,
  }),
  certificates: z.strictObject({
    fingerprint: text,
    name,
    issued_at: text,
    expires_at: text,
    revoked_at: textOrNull,
    authority: laterColumn,
  }),
  former_secrets: z.strictObject({ name, secret_hash: text, ends_at: text }),
  claims: z.strictObject({
    name,
    token_hash: text,
    expires_at: text,
    claimed_at: textOrNull,
    certificate: textOrNull,
  }),
  audit_log: z.strictObject({ at: text, action: text, name: text, actor: text, detail: textOrNull }),
}

type Table = keyof typeof tables

const exported = z.strictObject({
  format: z.literal('faultline-registry'),
  version: z.literal(1),
  exportedAt: text,
  ...(Object.fromEntries(Object.entries(tables).map(([table, row]) => [table, z.array(row)])) as {
    [T in Table]: z.ZodArray<(typeof tables)[T]>
  }),
})

export type RegistryExport = z.infer<typeof exported>

const columnsOf = (table: Table): string[] => Object.keys(tables[table].shape)

/**
 * All that a registry holds, of one moment: identities, hashes of secrets and tokens, fingerprints of certificates, the
 * audit log. No secret is in it, since the registry has none.
 */
export function exportRegistry(database: RegistryDatabase): RegistryExport {
  return database.change((open, exportedAt) => ({
    format: 'faultline-registry',
    version: 1,
    exportedAt,
    ...(Object.fromEntries(
      (Object.keys(tables) as Table[]).map(table => [
        table,
        open.prepare(`SELECT ${columnsOf(table).join(', ')} FROM ${table} ORDER BY rowid`).all(),
      ]),
    ) as unknown as { [T in Table]: RegistryExport[T] }),
  }))
}

/**
 * Takes up an export, all or nothing, and returns how many identities it holds. The registry must hold none: names of two
 * fleets cannot be told apart. Throws `EXPORT_INVALID`.
 */
export function importRegistry(database: RegistryDatabase, json: string, source: string): number {
  const content = parseExport(json, source)
  database.change((open, at) => {
    const { count } = open.prepare('SELECT count(*) AS count FROM identities').get() as { count: number }
    if (count > 0) throw invalid(source, `the registry holds ${count} identities already; nothing was changed`)
    for (const table of Object.keys(tables) as Table[]) insert(open, table, content[table])
    recordChange(open, { at, action: 'imported', name: 'registry', detail: `exported ${content.exportedAt}` })
  })
  return content.identities.length
}

function insert(database: DatabaseSync, table: Table, rows: readonly Record<string, string | null>[]): void {
  const columns = columnsOf(table)
  const statement = database.prepare(
    `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`,
  )
  for (const row of rows) statement.run(...columns.map(column => row[column] ?? null))
}

function parseExport(json: string, source: string): RegistryExport {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (cause) {
    throw invalid(source, `not JSON: ${(cause as Error).message}`)
  }
  const parsed = exported.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw invalid(source, `${issue?.path.join('.')}: ${issue?.message}`)
}

const invalid = (source: string, message: string): FaultlineError =>
  new FaultlineError('EXPORT_INVALID', `${source}: ${message}`)
