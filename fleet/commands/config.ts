import { FaultlineError } from '@faultline/protocol'
import {
  type Command,
  type ConfigChange,
  checkConfig,
  fromCaller,
  migrateConfigFile,
  Option,
  readEntries,
} from '@faultline/runtime'
import { type Component, components } from '../reference/components.ts'

const scripts = components.map(({ script }) => script)

/** `config check FILE` and `config migrate FILE`. */
export function addConfig(program: Command): void {
  const config = program.command('config').description('check configuration files and bring them to the present format')
  const component = () =>
    new Option(
      '--component <name>',
      'the program that starts from the file (default: recognised by its entries)',
    ).choices(scripts)
  config
    .command('check <file>')
    .description('say whether a program would start from a file, and which entries have new names; changes nothing')
    .addOption(component())
    .action(check)
  config
    .command('migrate <file>')
    .description('rewrite a file in the present format, comments kept, after a copy of it beside it')
    .addOption(component())
    .action(migrate)
}

interface Flags {
  component?: string
}

async function check(path: string, { component: script }: Flags): Promise<void> {
  const file = fromCaller(path)
  const component = await componentOf(file, script)
  const changes: ConfigChange[] = []
  checkConfig(component.schema, await readEntries(file), file, change => changes.push(change))
  say(`${file} is a valid file of the ${component.title.toLowerCase()}`)
  for (const change of changes) say(describe(change))
  if (changes.length > 0) say(`rewrite it: npm run faultline -- config migrate ${path}`)
}

async function migrate(path: string, { component: script }: Flags): Promise<void> {
  const file = fromCaller(path)
  const component = await componentOf(file, script)
  const { changes, backup } = await migrateConfigFile(component.schema, file)
  for (const change of changes) say(describe(change))
  say(backup === undefined ? `${file} is in the present format already` : `${file} rewritten; as it was: ${backup}`)
}

/** The program a file is for. Throws `CONFIG_INVALID` where its entries fit none, or several. */
async function componentOf(file: string, script: string | undefined): Promise<Component> {
  if (script !== undefined) return components.find(component => component.script === script)!
  const entries = await readEntries(file)
  const fitting = components.filter(({ schema }) => fits(schema, structuredClone(entries)))
  if (fitting.length === 1) return fitting[0]!
  const found =
    fitting.length === 0 ? 'no program starts' : `${fitting.map(({ script: name }) => name).join(' and ')} start`
  throw new FaultlineError(
    'CONFIG_INVALID',
    `${file}: ${found} from these entries; name the program with --component to see what is wrong`,
  )
}

function fits(schema: Component['schema'], entries: Record<string, unknown>): boolean {
  try {
    checkConfig(schema, entries, 'file', () => {})
    return true
  } catch {
    return false
  }
}

const describe = (change: ConfigChange): string =>
  'to' in change
    ? `  ${change.from.join('.')} is now ${change.to.join('.')}`
    : `  ${change.from.join('.')} is no more: ${change.advice}`

const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}
