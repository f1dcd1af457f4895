import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import {
  createProgram,
  inspectStore,
  lowerSchema,
  parseInteger,
  runProgram,
  type StoreReport,
  version,
} from '@faultline/runtime'
import { storeKinds } from './store-kinds.ts'

const program = createProgram(
  'npm run store --',
  'Checks stores of any program, running or not: kind, schema, integrity, what is in them. Writes nothing without --schema; exits with 1 when one is faulty.',
)
  .version(version)
  .argument('<files...>', 'databases, and directories: the spool of the recorder, the archive of a server agent')
  .option(
    '--schema <version>',
    'first bring databases to an older schema, for a return to an older version',
    parseInteger(1, 10_000),
  )
  .action(run)

function run(files: readonly string[], { schema }: { schema?: number }): void {
  if (schema !== undefined) for (const file of files) lowerSchema(databaseOf(file), storeKinds, schema)
  const reports = files.map(inspect)
  process.stdout.write(reports.map(textOf).join(''))
  if (reports.some(({ fault }) => fault !== undefined)) process.exitCode = 1
}

function inspect(path: string): StoreReport {
  const database = databaseOf(path)
  return statSync(database, { throwIfNoEntry: false })?.isDirectory()
    ? inspectSpool(database)
    : inspectStore(database, storeKinds)
}

/** An archive is a directory with its index; what else is a directory has no database. */
function databaseOf(path: string): string {
  const index = join(path, 'index.db')
  return existsSync(index) ? index : path
}

/** The spool of the recorder: files of points, a JSON object a line. */
function inspectSpool(path: string): StoreReport {
  const report: StoreReport = { path, bytes: 0, counts: {}, setAside: [] }
  const names = readdirSync(path)
  const batches = names.filter(name => /^\d+\.ndjson$/.test(name)).map(name => readFileSync(join(path, name), 'utf8'))
  if (batches.length === 0 && names.length > 0 && !names.some(name => name.startsWith('first-seen'))) {
    return { ...report, fault: `${path}: neither a spool of the recorder nor an archive of hard windows` }
  }
  const lines = batches.flatMap(batch => batch.split('\n').filter(line => line !== ''))
  const torn = lines.filter(line => !isJson(line)).length
  return {
    ...report,
    kind: 'spool of the recorder',
    bytes: batches.reduce((sum, batch) => sum + Buffer.byteLength(batch), 0),
    counts: { 'waiting points': lines.length - torn, 'damaged lines': torn },
    setAside: names.filter(name => name.startsWith('set-aside.jsonl')).map(name => join(path, name)),
  }
}

function isJson(line: string): boolean {
  try {
    JSON.parse(line)
    return true
  } catch {
    return false
  }
}

function textOf({ path, kind, schema, bytes, counts, fault, setAside }: StoreReport): string {
  const facts = [
    kind ?? 'unknown kind',
    ...(schema ? [`schema ${schema.found} (this version reads up to ${schema.newest})`] : []),
    `${bytes} bytes`,
    ...Object.entries(counts).map(([what, count]) => `${count} ${what}`),
    ...(setAside.length > 0 ? [`set aside: ${setAside.join(', ')}`] : []),
  ]
  return `${fault === undefined ? 'ok    ' : 'FAULT '} ${path}: ${facts.join('; ')}\n${fault === undefined ? '' : `       ${fault}\n`}`
}

await runProgram(program)
