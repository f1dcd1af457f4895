import assert from 'node:assert/strict'
import { appendFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { jsonSchemaOf, schemaFields } from '@faultline/protocol'
import { loadConfig, variableOf } from '@faultline/runtime'
import { components } from '../../fleet/reference/components.ts'
import { configurationPage } from '../../fleet/reference/configuration-page.ts'
import { runCommand } from '../support/command.ts'
import { root } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'

const docs = (...args: string[]) => runCommand('fleet/docs.ts', args)
const generated = ['topics.md', 'payloads.md', 'errors.md', 'asyncapi.yaml', 'configuration.md', 'telemetry.md']

test('the generated reference pages are those of the present software', async () => {
  const { code, stderr } = await docs('--check')
  assert.equal(code, 0, `${stderr}Run \`npm run docs\` and commit docs/reference.`)
})

test('a page that was edited or is missing is named, and written anew', async t => {
  const directory = await temporaryDirectory(t)
  const missing = await docs('--check', '--output', directory)
  assert.equal(missing.code, 1)
  assert.deepEqual(
    missing.stderr
      .trim()
      .split('\n')
      .map(line => line.split(' ')[0]),
    generated,
  )
  assert.equal((await docs('--output', directory)).code, 0)
  await appendFile(join(directory, 'errors.md'), '\n')
  const edited = await docs('--check', '--output', directory)
  assert.equal(edited.code, 1)
  assert.match(edited.stderr, /^errors\.md is out of date[^\n]*\n$/)
})

test('a mistake in the options is one line and exit code 2', async () => {
  const { code, stderr } = await docs('--chekc')
  assert.equal(code, 2)
  assert.equal(stderr.trim().split('\n').length, 1)
})

/** The YAML that stands under a heading of the page. */
function exampleIn(page: string, title: string): string {
  const section = page.split(/^## /m).find(text => text.startsWith(`${title}\n`))
  const yaml = /^```yaml\n([\s\S]*?)^```$/m.exec(section ?? '')?.[1]
  assert.ok(yaml, `no example under "${title}"`)
  return yaml
}

for (const { title, schema } of components) {
  test(`the example of the ${title.toLowerCase()} is a valid file`, async t => {
    const file = join(await temporaryDirectory(t), 'example.yaml')
    const page = await readFile(join(root, 'docs/reference/configuration.md'), 'utf8')
    await writeFile(file, exampleIn(page, title))
    const config = await loadConfig(schema, file, {})
    assert.ok(Object.keys(config as object).length > 2)
  })

  test(`every entry of the ${title.toLowerCase()} has a meaning and a row`, () => {
    const page = configurationPage()
    const fields = schemaFields(jsonSchemaOf(schema))
    assert.ok(fields.length > 5)
    for (const { path, meaning } of fields) {
      assert.notEqual(meaning, '', `${path} has no .describe()`)
      assert.ok(page.includes(`| \`${path}\` |`), path)
    }
  })

  test(`the variables named for the ${title.toLowerCase()} set the entries they stand beside`, async t => {
    const file = join(await temporaryDirectory(t), 'example.yaml')
    await writeFile(file, exampleIn(configurationPage(), title))
    const config = await loadConfig(schema, file, {})
    const environment: Record<string, string> = {}
    for (const { path } of schemaFields(jsonSchemaOf(schema))) {
      const value = valueAt(config, path.split('.'))
      if (value === undefined) continue
      environment[variableOf(path.split('.'))] = typeof value === 'string' ? value : JSON.stringify(value)
    }
    assert.ok(Object.keys(environment).length > 3)
    assert.deepEqual(await loadConfig(schema, undefined, environment), config)
    await assert.rejects(loadConfig(schema, file, { FAULTLINE_NO_SUCH_ENTRY: '1' }), /noSuchEntry/)
  })
}

const valueAt = (config: unknown, path: readonly string[]): unknown =>
  path.reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], config)
