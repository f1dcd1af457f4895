import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { importsOf, layerFaults, layers } from './support/layers.ts'
import { root } from './support/processes.ts'
import { temporaryDirectory } from './support/temp.ts'

test('no folder imports against the arrows', () => {
  const faults = layerFaults(root)
  assert.equal(faults.length, 0, `\n${faults.join('\n')}`)
})

test('the layers are those of CONTRIBUTING.md', async () => {
  const page = await readFile(join(root, 'CONTRIBUTING.md'), 'utf8')
  for (const [folder, allowed] of Object.entries(layers)) {
    const cell = new RegExp(`^\\| \`${folder}/\` \\|.*\\| ([^|]*) \\|$`, 'm').exec(page)?.[1]
    assert.ok(cell, `CONTRIBUTING.md has no row for ${folder}/`)
    const named = cell === '–' ? [] : cell === 'everything' ? ['*'] : cell.replace(/ \(.*?\)/g, '').split(', ')
    assert.deepEqual(named, allowed, folder)
  }
})

const statement = (specifier: string): string => ['import', '{ a }', 'from', `'${specifier}'`].join(' ')

/** A made-up repository of three workspaces: low, high (which may import low) and side (which may not). */
async function tree(t: TestContext, files: Record<string, string>): Promise<string[]> {
  const directory = await temporaryDirectory(t)
  const dependencies = { '@faultline/low': '*', '@faultline/side': '*', listed: '^1.0.0' }
  const all = {
    'package.json': JSON.stringify({ workspaces: ['low', 'high', 'side'] }),
    'low/package.json': '{}',
    'high/package.json': JSON.stringify({ dependencies }),
    'side/package.json': '{}',
    ...files,
  }
  for (const [path, text] of Object.entries(all)) {
    await mkdir(dirname(join(directory, path)), { recursive: true })
    await writeFile(join(directory, path), text)
  }
  return layerFaults(directory, { low: [], high: ['low'], side: [], test: ['*'] })
}

test('imports along the arrows pass', async t => {
  const lines = ['node:fs', './b.ts', './deep/c.ts', '@faultline/low', 'listed', 'listed/part'].map(statement)
  const faults = await tree(t, {
    'high/a.ts': lines.join('\n'),
    'high/deep/c.ts': statement('../b.ts'),
    'high/node_modules/x/index.js': statement('@faultline/side'),
  })
  assert.deepEqual(faults, [])
})

const broken: [what: string, path: string, specifier: string, fault: RegExp][] = [
  ['against the arrows', 'high/a.ts', '@faultline/side', /high\/ may not import side\//],
  ['upwards', 'low/a.ts', '@faultline/high', /low\/ may not import high\//],
  ['past the public face', 'high/a.ts', '@faultline/low/inner.ts', /public face of low\//],
  ['out of the folder', 'high/deep/a.ts', '../../low/index.ts', /leaves high\//],
  ['of the folder itself by name', 'high/a.ts', '@faultline/high', /by relative path/],
  ['of a package that is not listed', 'high/a.ts', 'unlisted', /package\.json does not list unlisted/],
  ['of a scoped package that is not listed', 'high/a.ts', '@some/unlisted/part', /does not list @some\/unlisted/],
  ['of a workspace that is not listed', 'side/a.ts', '@faultline/low', /side\/ may not import low\//],
  ['by absolute path', 'high/a.ts', '/etc/a.ts', /absolute path/],
]

for (const [what, path, specifier, fault] of broken) {
  test(`an import ${what} is named with its file`, async t => {
    const faults = await tree(t, { [path]: statement(specifier) })
    assert.equal(faults.length, 1)
    assert.ok(faults[0]!.startsWith(`${path} imports '${specifier}': `), faults[0])
    assert.match(faults[0]!, fault)
  })
}

test('tests reach inner files of every folder, but not beyond the repository', async t => {
  const workspaces = { 'package.json': JSON.stringify({ workspaces: ['test'] }), 'test/package.json': '{}' }
  const faults = await tree(t, {
    ...workspaces,
    'test/low/a.ts': [statement('../../low/inner.ts'), statement('../../../outside.ts')].join('\n'),
  })
  assert.deepEqual(faults, ["test/low/a.ts imports '../../../outside.ts': a relative import leaves the repository/"])
})

test('every form of import is seen, and no comment', () => {
  const source = [
    statement('one'),
    ['import', 'type', '{', '\n  A,\n  B,\n', '}', 'from', '"two"'].join(' '),
    ['export', '*', 'from', "'three'"].join(' '),
    ['import', "'four'"].join(' '),
    `const five = await ${['im', 'port'].join('')}('five')`,
    `const six = ${['re', 'quire'].join('')}('six')`,
    `type Seven = typeof ${['im', 'port'].join('')}('seven')`,
    `// ${statement('comment')}`,
    ` * ${statement('comment')}`,
    "export const list = Array.from('text')",
    "const text = 'from'",
  ].join('\n')
  assert.deepEqual(importsOf(source).sort(), ['five', 'four', 'one', 'seven', 'six', 'three', 'two'])
})

test('a workspace that the layers do not name is a fault', async t => {
  const faults = await tree(t, { 'package.json': JSON.stringify({ workspaces: ['low', 'new'] }) })
  assert.deepEqual(faults, ['new: a workspace that the layers do not name'])
})
