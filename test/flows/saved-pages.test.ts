import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createLogger, silentLogger } from '@faultline/runtime'
import { upgradeSavedPages } from '../../flows/saved-pages.ts'
import { cookieOf, PageConnection, sendLogin } from '../support/dashboard.ts'
import { startScript } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { startBroker } from './fixtures.ts'

type Node = Record<string, unknown> & { id: string; type: string }

/** A flow that was saved when the pages were text in templates; their text is cut short. */
const old = join(import.meta.dirname, 'fixtures', 'flows-with-template-pages.json')
const pages = {
  'fl-view': 'fleet',
  'fl-machine-view': 'machine',
  'fl-alarms-view': 'alarms',
  'fl-decisions-view': 'decisions',
  'fl-devices-view': 'devices',
}

/** The old flow with what a person has made of it: nodes of their own, and settings of the shipped ones. */
async function editedFlow(): Promise<{ nodes: Node[]; text: string }> {
  const nodes = JSON.parse(await readFile(old, 'utf8')) as Node[]
  const edit = (id: string, fields: object) => Object.assign(nodes.find(node => node.id === id)!, fields)
  edit('fl-alarm', { contacts: 'anna@example.com', x: 520 })
  edit('fl-view', { format: '<template><h1>Our own fleet</h1></template>', x: 40 })
  edit('fl-alarms', { wires: [['fl-alarms-view', 'own-debug'], ['fl-alarm']] })
  nodes.push(
    { id: 'own-debug', type: 'debug', z: 'fl-tab', name: 'ours', x: 0, y: 0, wires: [] },
    { id: 'own-group', type: 'group', z: 'fl-tab', nodes: ['own-debug', 'fl-style'], x: 0, y: 0, w: 10, h: 10 },
    {
      id: 'own-page',
      type: 'ui-template',
      z: 'fl-tab',
      group: 'fl-group',
      order: 2,
      format: '<template><p>Shift plan</p></template>',
      templateScope: 'local',
      className: '',
      x: 0,
      y: 0,
      wires: [['own-debug']],
    },
  )
  return { nodes, text: JSON.stringify(nodes) }
}

async function save(t: TestContext, text: string): Promise<{ directory: string; file: string }> {
  const directory = join(await temporaryDirectory(t), 'node-red')
  const file = join(directory, 'flows.json')
  await mkdir(directory)
  await writeFile(file, text)
  return { directory, file }
}

test('pages of an earlier version become those of this one, and all else in a saved flow stays as it is', async t => {
  const { nodes: before, text } = await editedFlow()
  const { directory, file } = await save(t, text)
  await upgradeSavedPages(file, silentLogger)
  const after = JSON.parse(await readFile(file, 'utf8')) as Node[]
  const byId = new Map(after.map(node => [node.id, node]))

  for (const [id, page] of Object.entries(pages)) {
    const was = before.find(node => node.id === id)!
    const { type, page: shown, group, x, y, z, wires, format } = byId.get(id)!
    assert.deepEqual({ type, shown, format }, { type: 'ui-faultline', shown: page, format: undefined })
    assert.deepEqual([group, x, y, z, wires], [was.group, was.x, was.y, was.z, was.wires], id)
  }
  assert.ok(!byId.has('fl-style') && !byId.has('fl-account'), 'both are part of the pages now')
  assert.deepEqual(byId.get('own-group')!.nodes, ['own-debug'])
  assert.equal(byId.get('fl-machine')!.store, 'fl-store')
  assert.ok((byId.get('fl-ui')!.acceptsClientConfig as string[]).includes('ui-faultline'))
  const changed = [...Object.keys(pages), 'fl-style', 'fl-account', 'own-group', 'fl-machine', 'fl-ui']
  for (const node of before.filter(({ id }) => !changed.includes(id))) assert.deepEqual(byId.get(node.id), node)

  await t.test('the flow as it was is in a backup copy, with what somebody wrote into a page', async () => {
    const [backup] = (await readdir(directory)).filter(name => name.endsWith('.backup'))
    assert.equal(await readFile(join(directory, backup!), 'utf8'), text)
  })

  await t.test('a page that somebody puts back stays', async () => {
    const restored = JSON.stringify([...after, { ...before.find(({ id }) => id === 'fl-view')!, id: 'put-back' }])
    await writeFile(file, restored)
    await upgradeSavedPages(file, silentLogger)
    assert.equal(await readFile(file, 'utf8'), restored)
    assert.equal((await readdir(directory)).length, 2)
  })
})

for (const [what, text] of [
  ['without pages of ours', JSON.stringify([{ id: 'tab', type: 'tab' }])],
  ['that is no flow', '{"flows": '],
] as const) {
  test(`a file ${what} is left as it is`, async t => {
    const { directory, file } = await save(t, text)
    await upgradeSavedPages(file, createLogger('test'))
    assert.equal(await readFile(file, 'utf8'), text)
    assert.deepEqual(await readdir(directory), ['flows.json'])
  })
}

test('flows started on a user directory of an earlier version show the new pages', { timeout: 120_000 }, async t => {
  const broker = await startBroker(t)
  const { directory } = await save(t, (await editedFlow()).text)
  const configuration = join(directory, 'flows.yaml')
  const { url, identity, secret } = broker.flows
  const password = 'a password for this test'
  const access = { broker: { url, identity: identity.name, secret }, adminPassword: password }
  await writeFile(configuration, JSON.stringify({ userDirectory: directory, port: 0, ...access })) // JSON is YAML.
  const program = startScript(t, 'flows/main.ts', ['--config', configuration])
  await program.said(/saved flow has pages of an earlier version; replaced them/)
  const [, dashboard, editor] = await program.said(/"dashboard":"([^"]+)","editor":"([^"]+)"/)
  await program.said(/connected to the broker/)

  const page = new PageConnection(dashboard!, {
    cookie: cookieOf(await sendLogin(dashboard!, 'admin', password)),
  })
  t.after(() => page.close())
  await page.open()
  const [, , config] = await page.heard(([name]) => name === 'ui-config')
  type Widget = { type: string; src?: Record<'package' | 'src', string>; props: { page?: string } }
  const { widgets } = config as { widgets: Record<string, Widget> }
  for (const [id, name] of Object.entries(pages)) assert.equal(widgets[id]?.props.page, name)
  assert.equal(widgets['own-page']?.type, 'ui-template')
  const { src } = widgets['fl-view']!
  const script = await fetch(new URL(`resources/${src!.package}/${src!.src}`, editor))
  assert.deepEqual([script.status, (await script.text()).includes('Active alarms')], [200, true])
  page.send('fl-devices-view', { topic: 'look', payload: {} })
  const [, answer] = await page.heard(([name]) => name === 'msg-input:fl-devices-view')
  assert.equal((answer as { topic: string }).topic, 'view')
})
