import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, readdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { packNodes } from '@faultline/flows'
import RED from 'node-red'
import { flowsStarted } from '../../flows/flows-started.ts'
import { temporaryDirectory } from '../support/temp.ts'

const name = 'node-red-contrib-faultline'
const types = [
  'faultline-alarm',
  'faultline-alarms',
  'faultline-broker',
  'faultline-command',
  'faultline-decisions',
  'faultline-devices',
  'faultline-escalate',
  'faultline-events',
  'faultline-fleet',
  'faultline-machine',
  'faultline-query',
  'faultline-store',
  'ui-faultline',
]

test('packed, and installed in an empty user directory, the nodes load with help in two languages, icons and examples', async t => {
  const directory = await temporaryDirectory(t)
  const file = await packNodes(directory)
  const userDir = await temporaryDirectory(t)
  await writeFile(join(userDir, 'package.json'), '{"name": "user", "version": "1.0.0"}')
  await promisify(execFile)('npm', ['install', '--offline', '--no-audit', '--no-fund', file], { cwd: userDir })
  const installed = join(userDir, 'node_modules', name)
  const description = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8'))
  assert.ok(description.keywords.includes('node-red'))
  assert.equal(description.dependencies, undefined, 'everything is in the bundle')

  // The shipped flow as somebody imports it. The dashboard is beside Node-RED, and finds the pages without `nodesDir`.
  const [shipped] = await readdir(join(installed, 'examples'))
  await copyFile(join(installed, 'examples', shipped!), join(userDir, 'flows.json'))

  const server = createServer((request, response) => RED.httpAdmin(request, response))
  RED.init(server, {
    userDir,
    flowFile: 'flows.json',
    httpAdminRoot: '/',
    httpNodeRoot: '/nodes',
    logging: { console: { level: 'off' } },
  })
  const started = flowsStarted(RED.events)
  await RED.start()
  await started
  t.after(() => RED.stop())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  const get = async (path: string, headers: Record<string, string> = {}) => {
    const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, { headers })
    assert.equal(response.status, 200, path)
    return response.text()
  }

  const [set] = RED.nodes.getNodeList(({ module }) => module === name) as { err?: unknown; types?: string[] }[]
  assert.equal(set?.err, undefined)
  assert.deepEqual(set?.types?.toSorted(), types)
  const english = await get(`/nodes/${name}/faultline`, { Accept: 'text/html', 'Accept-Language': 'en-US' })
  const german = await get(`/nodes/${name}/faultline`, { Accept: 'text/html', 'Accept-Language': 'de' })
  for (const type of types) {
    assert.match(english, new RegExp(`data-template-name="${type}"`))
    for (const html of [english, german]) assert.match(html, new RegExp(`data-help-name="${type}"`))
  }
  assert.match(english, /<h3>Inputs<\/h3>/)
  assert.match(german, /<h3>Eingaben<\/h3>/)

  const catalogues = await Promise.all(['en-US', 'de'].map(lng => get(`/locales/${name}/faultline?lng=${lng}`)))
  const [us, de] = catalogues.map(text => JSON.parse(text) as Record<string, Record<string, string>>)
  for (const key of [...english.matchAll(/data-i18n="(?:\[\w+\])?([\w-]+)\.([\w-]+)"/g)]) {
    const [, group, entry] = key as unknown as [string, string, string]
    for (const catalogue of [us, de]) assert.ok(catalogue?.[group]?.[entry], `${group}.${entry}`)
  }
  for (const [, icon] of english.matchAll(/icon: '(faultline-\w+\.svg)'/g)) await get(`/icons/${name}/${icon}`)

  const [[widget, { output, component }]] = Object.entries(description['node-red-dashboard-2'].widgets) as [
    [string, { output: string; component: string }],
  ]
  assert.ok(types.includes(widget))
  const script = await get(`/resources/${name}/${output}`)
  assert.ok(script.includes(component), 'the pages are built')
  const { ui } = RED.nodes.getNode('fl-ui') as unknown as { ui: { widgets: Map<string, { src?: object }> } }
  assert.deepEqual(ui.widgets.get('fl-view')?.src, { package: name, name: widget, src: output, component })

  const examples = await readdir(join(installed, 'examples'))
  assert.ok(examples.length > 0)
  for (const example of examples) {
    assert.match(example, /^\d - [A-Z].+\.json$/)
    const offered = await get(`/library/examples/flows/${name}/${encodeURIComponent(example.replace('.json', ''))}`)
    assert.equal((JSON.parse(offered) as { type: string }[])[0]?.type, 'tab')
  }
})
