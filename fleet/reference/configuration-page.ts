import { jsonSchemaOf, markdown, runtimeConfig, type SchemaField, schemaFields } from '@faultline/protocol'
import { variableOf } from '@faultline/runtime'
import { fleetProgram } from '../command-line.ts'
import { type Component, components } from './components.ts'

const { block, code, page, table } = markdown

/** `configuration.md`: every entry of every component's file, and the options of `npm start`. */
export function configurationPage(): string {
  return page('Configuration', "the components' schemas", [
    'Each component starts from one YAML file, checked as a whole before anything runs: an entry that is unknown, missing or ' +
      'out of range ends the start with `CONFIG_INVALID` and the name of the entry. Relative paths begin at the ' +
      'directory a component is started in. Broker, recorder and flows can do without a file.',
    '## Versions',
    `Every file may begin with ${code('version: 1')}, the version of its format; files from before it have none. An entry that a later version ` +
      'renamed is read under its old name, with one warning that says the new one; `npm run faultline -- config migrate FILE` ' +
      'rewrites a file, with its comments, after a copy beside it, and `config check FILE` only says what it would do. A file of a ' +
      'later version than the software knows is refused.',
    '## Environment variables',
    'A variable takes the place of an entry of the file. Its name is `FAULTLINE_` and the path of the entry, with two ' +
      `underscores for a step down and one between words: ${code(variableOf(['broker', 'secret']))} is \`broker.secret\`. ` +
      'Where the entry is a text its value is taken as it stands, so that a secret needs no quotes of YAML; elsewhere it is ' +
      'read as YAML, and a list or a map is given as a whole: ' +
      `${code("FAULTLINE_MODELS='[models/bearing-server]'")}. Variables that name no entry are refused like such ` +
      'entries in the file, so give each process only its own.',
    `\`FAULTLINE_LOG_LEVEL\` is apart: \`trace\`, \`debug\`, \`info\` (the default), \`warn\`, \`error\`, \`fatal\` or ` +
      '`silent`, for every component. Logs go to standard error, one JSON object a line.',
    '## Reading the tables',
    '"required" means required where the map around it is given. A dash means that the entry may be absent and has no ' +
      'default, or that it has no variable of its own, being part of a list.',
    ...components.flatMap(componentSection),
    '## What an operator may change at run time',
    'The file says where a device agent begins. These entries can be replaced while it runs, by a message to ' +
      '[`config/desired`](payloads.md#config-desired); the agent keeps what it applied in its `dataDirectory`, where it ' +
      `prevails over the file from then on: ${Object.keys(runtimeConfig.shape).map(code).join(', ')}.`,
    '## npm start',
    'The fleet on one machine takes no file but options, as in `npm start -- --devices 12 --duration 60`. It keeps ' +
      'identities, databases and logs in one directory. Of the variables above only `FAULTLINE_LOG_LEVEL` reaches it.',
    table(['option', 'default', 'meaning'], optionRows()),
  ])
}

function componentSection({ title, script, what, schema, example }: Component): string[] {
  const fields = schemaFields(jsonSchemaOf(schema))
  const forms = [...new Set(fields.flatMap(({ form }) => form ?? []))]
  const rowsOf = (form?: string) => fields.filter(field => field.form === form).map(entryRow)
  const head = ['entry', 'type', 'default', 'meaning', 'variable']
  return [
    `## ${title}`,
    `\`npm run ${script} -- --config FILE\`. ${what}`,
    block('yaml', example.trimStart()),
    table(head, rowsOf()),
    ...forms.flatMap(form => [`With ${code(form)}:`, table(head, rowsOf(form))]),
  ]
}

function entryRow({ path, type, required, default: value, meaning }: SchemaField): string[] {
  const shown = required ? 'required' : value === undefined ? '–' : code(JSON.stringify(value))
  const variable = /\[\]|\*/.test(path) ? '–' : code(variableOf(path.split('.')))
  return [code(path), type, shown, meaning, variable]
}

const optionRows = (): string[][] =>
  fleetProgram().options.map(({ flags, description, defaultValue, negate }) => [
    code(flags),
    defaultValue === undefined || negate ? '–' : code(String(defaultValue)),
    description,
  ])
