import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { AuditedPolicy, classificationOf, createPolicy, featureNames, policyNames } from '@faultline/inference'
import { accessRules, counters, health, jsonSchemaOf, schemaFields } from '@faultline/protocol'
import { publishedFeatures } from '../device-agent/decisions/assessment.ts'
import { anchorsOf, deadLinks, linksOf, pages } from './support/markdown.ts'
import { root } from './support/processes.ts'

const read = (path: string): Promise<string> => readFile(join(root, path), 'utf8')

/** The text below one heading of level two. */
async function section(path: string, title: string): Promise<string> {
  const found = (await read(path)).split(/^## /m).find(text => text.startsWith(`${title}\n`))
  assert.ok(found, `${path} has no section "${title}"`)
  return found
}

test('every relative link of every page leads to a file and a heading that exist', async () => {
  const all = pages()
  assert.ok(all.includes('README.md') && all.includes('docs/README.md'))
  const dead = (await Promise.all(all.map(deadLinks))).flat()
  assert.equal(dead.length, 0, `\n${dead.join('\n')}`)
})

test('every guide and reference page is in the table of contents', async () => {
  const linked = linksOf(await read('docs/README.md')).map(link => `docs/${link}`)
  const missing = pages().filter(page => /^docs\/(guides|reference)\//.test(page) && !linked.includes(page))
  assert.deepEqual(missing, [])
})

test('links are found in every form, and not in code', () => {
  const text = [
    '[a](one.md) ![b](two.png "title") [c](<three.md>) [d][e]',
    '[e]: four.md',
    '<img src="five.png"> <a href="six.md#part">x</a>',
    'not `[code](seven.md)` and not',
    '```md\n[fenced](eight.md)\n```',
    '<!-- [comment](nine.md) -->',
    '[`code`](ten.md)',
  ].join('\n')
  assert.deepEqual(linksOf(text), ['one.md', 'two.png', 'three.md', 'four.md', 'five.png', 'six.md#part', 'ten.md'])
})

test('headings become anchors as GitHub makes them', () => {
  const text = '# A page: its `code`\n## [Linked](x.md) & more\n## Twice\n## Twice\n```sh\n# comment\n```\n'
  assert.deepEqual([...anchorsOf(text)], ['a-page-its-code', 'linked--more', 'twice', 'twice-1'])
})

const classes = ['normal', 'fault']
const answers = [
  [0.99, 0.01],
  [0.51, 0.49],
  [0.01, 0.99],
].map(probabilities => ({ ...classificationOf(classes, probabilities), classes }))

for (const name of policyNames) {
  test(`the policy ${name} has a section with every reason and number it publishes`, async () => {
    const text = await section('docs/reference/policies.md', name)
    const policy = createPolicy({ name }, { normal: 'normal', threshold: 0.7 })
    for (const local of answers) {
      const { reason, numbers } = policy.decide(local, { price: 0.2 })
      for (const word of [reason, ...Object.keys(numbers)]) assert.ok(text.includes(`\`${word}\``), word)
    }
  })
}

test('the audit and what it publishes are described', async () => {
  const text = await section('docs/reference/policies.md', 'Audits')
  const audited = new AuditedPolicy(createPolicy({ name: 'never' }), { rate: 1, seed: 1 })
  const { reason, numbers } = audited.decide(answers[0]!, { price: 0.2 })
  assert.ok(text.includes(`\`${reason}\``))
  assert.ok('auditRate' in numbers && text.includes('`auditRate`'))
})

test('the rule for invalid output is described', async () => {
  const text = await section('docs/reference/policies.md', 'Invalid output')
  const local = { ...classificationOf(classes, [Number.NaN, 1]), classes }
  const { reason } = createPolicy({ name: 'never' }).decide(local, { price: 0.2 })
  assert.ok(text.includes(`\`${reason}\``))
})

test('every signal feature is described, and those that are published are named as such', async () => {
  const text = await section('docs/reference/metrics.md', 'Signal features')
  for (const name of featureNames) assert.ok(text.includes(`\`${name}\``), name)
  const published = /are \*\*published\*\*[^:]*: ([^.]*)\./.exec(text)?.[1] ?? ''
  assert.deepEqual(
    [...published.matchAll(/`(\w+)`/g)].map(match => match[1]),
    [...publishedFeatures],
  )
})

test('every counter and every field of health is described', async () => {
  const fields = schemaFields(jsonSchemaOf(health))
  const leaves = fields.filter(({ path }) => !fields.some(other => other.path.startsWith(`${path}.`)))
  const text = await section('docs/reference/metrics.md', 'Health')
  for (const { path } of leaves) assert.ok(text.includes(`\`${path}\``), path)
  const counted = await section('docs/reference/metrics.md', 'Counters')
  const names = Object.keys(counters.shape)
  for (const name of names) assert.ok(counted.includes(`| \`${name}\` |`), name)
  assert.ok(counted.includes(`windows = ${names.filter(name => name !== 'windows').join(' + ')}\n`))
})

test('the rules for EMQX are those of the table of rights', async () => {
  const text = await section('docs/guides/scale.md', 'EMQX')
  const rules = text.matchAll(
    /^\{allow, \{username, \{re, "\^(device|server)s\/"\}\}, (publish|subscribe), \[([^\]]*)\]\}\./gm,
  )
  const written = [...rules].map(([, role, access, topics]) => [
    `${role} ${access}`,
    [...topics!.matchAll(/"([^"]+)"/g)].map(([, topic]) => topic!.replace(/\$\{username\}/, '{self}')).sort(),
  ])
  const wanted = (['device', 'server'] as const).flatMap(role =>
    (['publish', 'subscribe'] as const).map(access => [`${role} ${access}`, [...accessRules[role][access]].sort()]),
  )
  assert.deepEqual(written, wanted)
})
