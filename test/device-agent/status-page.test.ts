import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get } from 'node:http'
import { describe, test } from 'node:test'
import { SimulatedSource } from '@faultline/device-agent'
import { skf6205 } from '@faultline/inference'
import { silentLogger } from '@faultline/runtime'
import { chromium } from 'playwright-core'
import { StatusBoard } from '../../device-agent/status-page/status-board.ts'
import { StatusPage } from '../../device-agent/status-page/status-page.ts'
import { startAgentBroker } from '../support/agent-broker.ts'
import { startDevice } from '../support/edge.ts'
import { findProgram, missing } from '../support/programs.ts'
import { tinyLocalModel } from '../support/tiny-models.ts'

type After = Parameters<typeof startDevice>[0]

/** The page of a device whose one point watches a bearing with a fault of its outer race. */
async function startPage(t: After) {
  const broker = await startAgentBroker(t)
  const source = new SimulatedSource({
    intervalMs: 50,
    speed: 1,
    shaftHz: 29,
    fault: 'outer-race',
    windowSamples: 2_048,
    rateHz: 12_000,
    seed: 1,
  })
  const place = { point: 'motor-de', machine: 'press-1', source, bearing: skf6205 }
  const device = await startDevice(t, broker, {}, place)
  const board = new StatusBoard({
    site: 'plant-a',
    device: 'pi-1',
    agent: device.agent,
    points: [place],
    model: () => tinyLocalModel,
  })
  const page = new StatusPage({ port: 0, board, logger: silentLogger })
  await page.start()
  t.after(() => page.stop())
  await Promise.all([once(device.agent, 'inference'), device.online()])
  return { device, page, url: `http://127.0.0.1:${page.port}` }
}

/** Status and body of a request that may give any name as its host's. */
async function ask(
  url: string,
  options: { host?: string; method?: string } = {},
): Promise<{ status: number; body: string }> {
  const { host, method } = options
  const request = get(url, { method, headers: host ? { host } : {} })
  const [response] = await once(request, 'response')
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  return { status: response.statusCode, body: Buffer.concat(chunks).toString() }
}

describe('the status page', () => {
  test('tells what the device says, of the window it shows, with the defect frequencies of its bearing', async t => {
    const { device, url } = await startPage(t)
    const status = JSON.parse((await ask(`${url}/status.json?point=motor-de`)).body)
    assert.equal(status.device.online, true)
    assert.equal(status.device.model.name, tinyLocalModel.model.name)
    assert.ok(status.device.health.counters.windows > 0)
    assert.ok(device.inferences.some(({ inference }) => inference.id === status.point.decisions[0].id))
    assert.equal(status.point.waveform.length, 2_048)
    const { envelope, cursors, shaftHz } = status.point
    const outer = cursors.find((cursor: { name: string }) => cursor.name === 'bpfo')
    assert.ok(Math.abs(outer.hz - skf6205.bpfo * shaftHz) < 0.1)
    const peak = envelope.values.indexOf(Math.max(...envelope.values)) * envelope.stepHz
    assert.ok(Math.abs(peak - outer.hz) < 2 * envelope.stepHz, `the highest line is at ${peak} Hz, not ${outer.hz}`)
  })

  test('changes nothing, and answers to no name but its own', async t => {
    const { url } = await startPage(t)
    assert.equal((await ask(url, { method: 'POST' })).status, 405)
    assert.equal((await ask(url, { host: 'factory.example' })).status, 421)
    assert.equal((await ask(url, { host: 'localhost' })).status, 200)
    assert.equal((await ask(`${url}/status.json?point=__proto__`)).status, 404)
    assert.equal((await ask(`${url}/../config.ts`)).status, 404)
  })

  test('follows the device for a few pages at a time', async t => {
    const { url } = await startPage(t)
    const streams = await Promise.all([1, 2, 3, 4].map(async () => (await once(get(`${url}/events`), 'response'))[0]))
    assert.equal((await ask(`${url}/events`)).status, 503)
    for (const _ of [1, 2]) assert.match(String((await once(streams[0], 'data'))[0]), /^data: \{"device":/)
    for (const stream of streams) stream.destroy()
  })

  test('draws waveform, spectra and cursors in a browser, which asks nobody else', {
    skip: missing('chromium'),
  }, async t => {
    const { page: served, url } = await startPage(t)
    const browser = await chromium.launch({
      executablePath: findProgram('chromium'),
      args: ['--no-sandbox', '--disable-gpu'],
    })
    t.after(() => browser.close())
    const page = await browser.newPage()
    const errors: string[] = []
    page.on('pageerror', error => errors.push(error.message))
    page.on('request', request => {
      if (new URL(request.url()).port !== String(served.port)) errors.push(request.url())
    })
    await page.goto(url)
    await page.getByText('BPFO, outer race').waitFor()
    await page.getByText('Connected to the broker').waitFor()
    for (const plot of ['#waveform', '#spectrum', '#envelope']) {
      const drawn = await page.locator(`${plot} path`).getAttribute('d')
      assert.ok(drawn!.length > 1_000 && !drawn!.includes('NaN'), plot)
    }
    assert.equal(await page.locator('#envelope line.bpfo').count(), 3)
    assert.ok((await page.locator('#decisions tr').count()) > 0)
    assert.deepEqual(errors, [])
  })
})
