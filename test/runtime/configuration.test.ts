import assert from 'node:assert/strict'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type ConfigChange, checkConfig, loadConfig, migrateConfigFile, withMigrations } from '@faultline/runtime'
import { z } from 'zod'
import { temporaryDirectory } from '../support/temp.ts'

const schema = z.strictObject({
  broker: z.strictObject({ url: z.string(), keepAliveS: z.number().default(15) }),
  points: z.array(z.strictObject({ machine: z.string() })).default([]),
  source: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('simulated'), seed: z.int() }),
      z.strictObject({ kind: z.literal('replay'), path: z.string() }),
    ])
    .optional(),
})

const valid = 'broker:\n  url: mqtt://localhost\n'

async function load(t: TestContext, yaml: string, environment: NodeJS.ProcessEnv = {}) {
  const file = join(await temporaryDirectory(t), 'agent.yaml')
  await writeFile(file, yaml)
  return loadConfig(schema, file, environment)
}

test('a file is read and its defaults filled in', async t => {
  const config = await load(t, `${valid}points: [{ machine: press }]\n`)
  assert.deepEqual(config, { broker: { url: 'mqtt://localhost', keepAliveS: 15 }, points: [{ machine: 'press' }] })
})

test('an environment variable overrides the file, at any depth', async t => {
  const config = await load(t, `${valid}points: [{ machine: press }]\n`, {
    FAULTLINE_BROKER__URL: 'mqtts://plant',
    FAULTLINE_BROKER__KEEP_ALIVE_S: '30',
    FAULTLINE_POINTS__0__MACHINE: 'pump',
    OTHER: 'x',
  })
  assert.deepEqual(config.broker, { url: 'mqtts://plant', keepAliveS: 30 })
  assert.deepEqual(config.points, [{ machine: 'pump' }])
})

test('the environment alone is enough', async () => {
  const config = await loadConfig(schema, undefined, { FAULTLINE_BROKER__URL: 'mqtt://h' })
  assert.equal(config.broker.url, 'mqtt://h')
})

test('a text from the environment stays as it is, whatever it looks like', async () => {
  const points = z.array(z.strictObject({ secret: z.string() })).default([])
  const access = z.strictObject({
    password: z.string().min(4),
    source: z.discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('simulated'), seed: z.int() }),
      z.strictObject({ kind: z.literal('replay'), path: z.string().default('.') }),
    ]),
    byName: z.record(z.string(), z.string()).optional(),
    points,
  })
  for (const text of [
    'hunter22 #correct horse',
    '12345678',
    'null',
    '[',
    '{a: b}',
    ' x ',
    '"quoted"',
    '0x1F',
    'a: b',
  ]) {
    const config = await loadConfig(access, undefined, {
      FAULTLINE_PASSWORD: `${text}....`,
      FAULTLINE_SOURCE__KIND: 'replay',
      FAULTLINE_SOURCE__PATH: text,
      FAULTLINE_BY_NAME__ANNA: text,
      FAULTLINE_POINTS: '[{ secret: "1" }]',
    })
    assert.equal(config.password, `${text}....`)
    assert.deepEqual(config.source, { kind: 'replay', path: text })
    assert.deepEqual(config.byName, { anna: text })
    assert.deepEqual(config.points, [{ secret: '1' }])
  }
})

test('an entry that can be a text or something else is read as YAML', async () => {
  const schema = z.strictObject({ size: z.union([z.number(), z.string()]), at: z.string().nullable() })
  const config = await loadConfig(schema, undefined, { FAULTLINE_SIZE: '5', FAULTLINE_AT: 'null' })
  assert.deepEqual(config, { size: 5, at: null })
})

test('variables of the logger and the tests are no entries', async t => {
  await load(t, valid, { FAULTLINE_LOG_LEVEL: 'debug', FAULTLINE_DATA: '/data', FAULTLINE_NO_SKIPS: '1' })
})

const mistakes: [what: string, yaml: string, code: string, message: RegExp][] = [
  ['a missing entry', 'broker: {}', 'CONFIG_INVALID', /agent\.yaml: broker\.url: /],
  ['a wrong type', 'broker: { url: 5 }', 'CONFIG_INVALID', /agent\.yaml: broker\.url: /],
  [
    'an entry inside a list',
    `${valid}points: [{ machine: a }, { machine: 1 }]`,
    'CONFIG_INVALID',
    /points\.1\.machine: /,
  ],
  ['an unknown entry', `${valid}borker: 1`, 'CONFIG_INVALID', /top level: .*borker/],
  ['an entry of one form', `${valid}source: { kind: replay }`, 'CONFIG_INVALID', /source\.path: /],
  ['an unknown form', `${valid}source: { kind: magic }`, 'CONFIG_INVALID', /source\.kind: /],
  ['a text', 'just text', 'CONFIG_INVALID', /must hold named entries/],
  ['a list', '- a', 'CONFIG_INVALID', /must hold named entries/],
  ['an empty file', '', 'CONFIG_INVALID', /broker: /],
  ['no YAML', 'broker: [', 'CONFIG_INVALID', /agent\.yaml: not YAML: /],
  ['two documents', `${valid}---\n${valid}`, 'CONFIG_INVALID', /not YAML/],
]
for (const [what, yaml, code, message] of mistakes) {
  test(`${what} is one error that names it`, async t => {
    await assert.rejects(load(t, yaml), error => {
      assert.equal((error as { code: string }).code, code)
      assert.match((error as Error).message, message)
      assert.ok(!(error as Error).message.includes('\n'))
      return true
    })
  })
}

test('a file that is not there is unreadable', async () => {
  await assert.rejects(loadConfig(schema, '/nowhere/agent.yaml', {}), { code: 'CONFIG_UNREADABLE', message: /nowhere/ })
})

test('a variable that is not YAML is named', async t => {
  await assert.rejects(load(t, valid, { FAULTLINE_POINTS: '[' }), {
    code: 'CONFIG_INVALID',
    message: /^FAULTLINE_POINTS: not YAML/,
  })
})

test('no variable reaches a prototype', async t => {
  await assert.rejects(load(t, valid, { FAULTLINE___PROTO____POLLUTED: '1' }), { code: 'CONFIG_INVALID' })
  assert.equal(({} as { polluted?: number }).polluted, undefined)
})

const migrated = withMigrations(
  z.strictObject({
    bridge: z.strictObject({ maxMessages: z.int().default(9), url: z.string().optional() }).prefault({}),
    points: z.array(z.strictObject({ name: z.string(), limit: z.int().optional() })).default([]),
    dataDirectory: z.string().optional(),
  }),
  {
    renamed: {
      'bridge.mostMessages': 'bridge.maxMessages',
      'points.*.mostOf': 'points.*.limit',
      home: 'dataDirectory',
    },
    removed: { colour: 'pages follow the browser' },
  },
)

async function written(t: TestContext, yaml: string): Promise<string> {
  const file = join(await temporaryDirectory(t), 'agent.yaml')
  await writeFile(file, yaml, { mode: 0o600 })
  return file
}

test('entries of files from before versions are read under their new names, with a warning for each', async () => {
  const warnings: ConfigChange[] = []
  const old = { bridge: { mostMessages: 3 }, points: [{ name: 'a', mostOf: 1 }, { name: 'b' }], colour: 'red' }
  const config = checkConfig(migrated, old, 'agent.yaml', change => warnings.push(change))
  assert.deepEqual(config, { bridge: { maxMessages: 3 }, points: [{ name: 'a', limit: 1 }, { name: 'b' }] })
  assert.deepEqual(warnings, [
    { from: ['bridge', 'mostMessages'], to: ['bridge', 'maxMessages'] },
    { from: ['points', '0', 'mostOf'], to: ['points', '0', 'limit'] },
    { from: ['colour'], advice: 'pages follow the browser' },
  ])
})

test('variables with old names set the entries of the new ones', async () => {
  const config = await loadConfig(migrated, undefined, {
    FAULTLINE_BRIDGE__MOST_MESSAGES: '4',
    FAULTLINE_LOG_LEVEL: 'x',
  })
  assert.equal(config.bridge.maxMessages, 4)
})

test('a file of the present version has the present names alone', async () => {
  assert.deepEqual(checkConfig(migrated, { version: 1 }, 'f').bridge, { maxMessages: 9 })
  assert.throws(() => checkConfig(migrated, { version: 1, bridge: { mostMessages: 3 } }, 'f'), {
    code: 'CONFIG_INVALID',
    message: /mostMessages.*did you mean "maxMessages"\?/,
  })
})

test('a version that is none, or later than this software, is refused', () => {
  for (const version of [-1, 1.5, '1', null, 2, 1e9])
    assert.throws(() => checkConfig(migrated, { version }, 'f'), { code: 'CONFIG_INVALID', message: /^f: version: / })
})

test('an entry under its old and its new name is refused', () => {
  assert.throws(() => checkConfig(migrated, { bridge: { mostMessages: 3, maxMessages: 4 } }, 'f'), {
    code: 'CONFIG_INVALID',
    message:
      'f: bridge.mostMessages is an old name of bridge.maxMessages, which is there too: remove bridge.mostMessages',
  })
})

test('an unknown entry names the one that was probably meant, and none that is not like it', async t => {
  await assert.rejects(load(t, `${valid}point: []`), { message: /"point"; did you mean "points"\?$/ })
  await assert.rejects(load(t, 'broker: { url: x, keepaliveS: 3 }'), { message: /did you mean "keepAliveS"\?$/ })
  await assert.rejects(load(t, `${valid}zebra: 1`), error => !(error as Error).message.includes('did you mean'))
})

test('a file is rewritten with its comments, its order and its rights, after a copy of it', async t => {
  const before = `# Hall 3
bridge:
  # A week of them.
  mostMessages: 3 # enough
  url: mqtt://above
points:
  - name: a
    mostOf: 1
colour: red
home: /var/lib/x # a disk of its own
`
  const file = await written(t, before)
  const { changes, backup } = await migrateConfigFile(migrated, file)
  assert.equal(changes.length, 4)
  assert.equal(await readFile(backup!, 'utf8'), before)
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  assert.equal((await stat(backup!)).mode & 0o777, 0o600)
  assert.equal(
    await readFile(file, 'utf8'),
    `# Hall 3

version: 1
bridge:
  # A week of them.
  maxMessages: 3 # enough
  url: mqtt://above
points:
  - name: a
    limit: 1
dataDirectory: /var/lib/x # a disk of its own
`,
  )
  assert.deepEqual(await migrateConfigFile(migrated, file), { changes: [] })
})

test('a file that no program would start from is not rewritten', async t => {
  const file = await written(t, 'bridge: { mostMessages: many }\n')
  await assert.rejects(migrateConfigFile(migrated, file), { code: 'CONFIG_INVALID', message: /bridge\.maxMessages/ })
  assert.equal(await readFile(file, 'utf8'), 'bridge: { mostMessages: many }\n')
})
