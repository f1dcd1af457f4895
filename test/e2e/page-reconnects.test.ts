import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { address, deviceState, inference, startBroker, startClients } from '../flows/fixtures.ts'
import { startBrowser } from '../support/browser.ts'
import { freePort, startScript } from '../support/processes.ts'
import { missing } from '../support/programs.ts'
import { temporaryDirectory } from '../support/temp.ts'

const password = 'a password for this test'

test('a page that has lost the server says so, and goes on where it was when the server is back', {
  skip: missing('chromium'),
  timeout: 300_000,
}, async t => {
  const directory = await temporaryDirectory(t)
  const broker = await startBroker(t)
  const { url, identity, secret } = broker.flows
  const file = join(directory, 'flows.yaml')
  const port = await freePort()
  const access = { broker: { url, identity: identity.name, secret }, adminPassword: password }
  await writeFile(file, JSON.stringify({ userDirectory: join(directory, 'node-red'), port, ...access })) // JSON is YAML.
  const start = async () => {
    const program = startScript(t, 'flows/main.ts', ['--config', file])
    await program.said(/connected to the broker/)
    return program
  }
  const program = await start()
  const device = await (await startClients(t, broker.url)).device('pi-1')
  const report = (machine: string) =>
    device.publish({ kind: 'state', site: 'plant-a', device: 'pi-1' }, deviceState(machine))
  await report('press-1')
  await device.publish(address(), inference('ball'))

  const page = await (await startBrowser(t)).newPage()
  page.setDefaultTimeout(60_000)
  await page.goto(`http://127.0.0.1:${port}/`)
  await page.getByLabel('Name').fill('admin')
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.locator('[data-machine="press-1"]').waitFor()
  await page.getByLabel('Find machines').fill('press')
  await program.stop('SIGKILL')
  await page.getByText('No connection to the server').waitFor()
  assert.ok(await page.locator('[data-machine="press-1"]').isVisible(), 'it shows what was known then')

  await start()
  await page.getByText('Live', { exact: true }).waitFor()
  await report('press-2')
  await page.locator('[data-machine="press-2"]').waitFor()
  assert.equal(await page.getByLabel('Find machines').inputValue(), 'press')
})
