import {
  type Command,
  type ConfigChange,
  checkConfig,
  fromCaller,
  migrateConfigFile,
  Option,
  readEntries,
} from '@faultline/runtime'
import { componentOf } from '../component-of.ts'
import { components } from '../reference/components.ts'

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

const describe = (change: ConfigChange): string =>
  'to' in change
    ? `  ${change.from.join('.')} is now ${change.to.join('.')}`
    : `  ${change.from.join('.')} is no more: ${change.advice}`

const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}
