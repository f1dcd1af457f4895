import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { identityOf, type Summary } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { createStore, Recorder } from '@faultline/telemetry'
import type { DecisionLine, MachineParts } from '../../flows/dashboard/machine-view.ts'
import type { TrendPart } from '../../flows/dashboard/trend.ts'
import type { Update } from '../../flows/dashboard/viewers.ts'
import { cookieOf, PageConnection, sendLogin } from '../support/dashboard.ts'
import { startScript } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { ObservedStore } from '../telemetry/observed-store.ts'
import { address, inference, startBroker, startClients } from './fixtures.ts'

const password = 'a password for this test'
/** The page of a machine in the shipped flow. */
const widget = 'fl-machine-view'
const begin = Date.now() - 3_600_000
const at = (second: number) => new Date(begin + second * 1_000).toISOString()

/** A broker, a device, and a recorder that has written as many points when `recorded` resolves. */
async function startSite(t: TestContext, directory: string) {
  const broker = await startBroker(t)
  const store = new ObservedStore(createStore({ kind: 'sqlite', path: join(directory, 'telemetry.db') }))
  await store.start()
  t.after(() => store.stop())
  const { url, secret } = broker.flows
  const recorder = new Recorder({
    broker: { url, secret, identity: identityOf('recorder', 'test') },
    store,
    logger: silentLogger,
    spool: { directory: join(directory, 'spool') },
  })
  t.after(() => recorder.stop())
  await recorder.start()
  await recorder.whenOnline(AbortSignal.timeout(30_000))
  const device = await (await startClients(t, broker.url)).device('pi-1')
  return { broker, device, recorded: (points: number) => store.untilWritten(points) }
}

/** The flows as a process of their own, and a page of the machine that somebody opens. */
async function openMachine(t: TestContext, file: string) {
  const program = startScript(t, 'flows/main.ts', ['--config', file])
  const [, dashboard] = await program.said(/"dashboard":"([^"]+)"/)
  await program.said(/connected to the broker/)
  const cookie = cookieOf(await sendLogin(dashboard!, 'admin', password))
  const page = new PageConnection(dashboard!, { cookie })
  t.after(() => page.close())
  await page.open()
  const rows = new Map<string, TrendPart | DecisionLine>()
  let parts: Partial<MachineParts> = {}
  let order: string[] = []
  const shown = () => order.flatMap(key => rows.get(key) ?? [])
  const trend = () => shown().flatMap(row => ('values' in row ? row.values.rms : []))
  const decisions = () => shown().flatMap(row => ('values' in row ? [] : row.label))
  page.send(widget, { topic: 'look', payload: { open: 'plant-a/press-1' } })
  /** Reads updates until the page shows what is waited for. */
  const until = async (fits: () => boolean) => {
    while (!fits()) {
      const [, message] = await page.heard(([name]) => name === `msg-input:${widget}`)
      const update = (message as { payload: Update }).payload
      for (const row of update.rows) rows.set(row.key, row as TrendPart | DecisionLine)
      order = update.order ?? order
      parts = { ...parts, ...update.parts }
    }
  }
  return { program, trend, decisions, until, parts: () => parts }
}

async function writeConfig(directory: string, { flows }: Awaited<ReturnType<typeof startBroker>>, more: object) {
  const file = join(directory, 'flows.yaml')
  const broker = { url: flows.url, identity: flows.identity.name, secret: flows.secret }
  const config = { userDirectory: join(directory, 'node-red'), port: 0, broker, adminPassword: password, ...more }
  await writeFile(file, JSON.stringify(config)) // JSON is YAML.
  return file
}

test('killed and started again, the flows show the trends of a machine as they were, each window once', {
  timeout: 300_000,
}, async t => {
  const directory = await temporaryDirectory(t)
  const { broker, device, recorded } = await startSite(t, directory)
  const file = await writeConfig(directory, broker, {
    store: { kind: 'sqlite', path: join(directory, 'telemetry.db') },
  })
  const windows = Array.from({ length: 62 }, (_, i) => i + 1)
  const publish = (i: number, fields: object = {}) =>
    device.publish(address(), inference('normal', { id: `past-${i}`, at: at(i), features: { rms: i }, ...fields }))

  const first = await openMachine(t, file)
  for (const i of windows) await publish(i)
  await first.until(() => first.trend().length === windows.length)
  await recorded(windows.length)
  await first.program.stop('SIGKILL')

  const second = await openMachine(t, file)
  await second.until(() => second.trend().length === windows.length)
  assert.deepEqual(second.trend(), windows)
  assert.deepEqual(second.parts().points, ['pi-1 / motor-de'])
  assert.equal(second.parts().incomplete, null)
  assert.equal(second.decisions().length, 40)

  await t.test('what comes after is appended, and what comes again or as a revision is no further window', async () => {
    await publish(62)
    await publish(61, { id: 'late', revises: 'past-61', label: 'ball' })
    await publish(63)
    await second.until(() => second.trend().length > windows.length)
    assert.deepEqual(second.trend(), [...windows, 63])
    assert.deepEqual(second.decisions().slice(0, 3), ['normal', 'normal', 'ball'])
  })
})

test('of a point that publishes summaries the trends go on after a restart as well', { timeout: 300_000 }, async t => {
  const directory = await temporaryDirectory(t)
  const { broker, device, recorded } = await startSite(t, directory)
  const file = await writeConfig(directory, broker, {
    store: { kind: 'sqlite', path: join(directory, 'telemetry.db') },
  })
  const range = (mean: number) => ({ min: mean, mean, max: mean })
  const summary = (minute: number): Summary => ({
    from: at(60 * minute - 60),
    to: at(60 * minute),
    machine: 'press-1',
    windows: 60,
    labels: { normal: 60 },
    outcomes: { accepted: 60 },
    features: { rms: range(minute) },
  })
  const summaries = { ...address(), kind: 'summary' } as const
  for (let minute = 1; minute <= 9; minute++) await device.publish(summaries, summary(minute))
  // One window names the point.
  await device.publish(address(), inference('normal', { at: at(600), features: { rms: 10 } }))
  await recorded(10)
  const page = await openMachine(t, file)
  await page.until(() => page.trend().length === 10)
  assert.deepEqual(page.trend(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
})

test('without a store the trends begin with the flows, and the page says so', { timeout: 300_000 }, async t => {
  const directory = await temporaryDirectory(t)
  const { broker, device } = await startSite(t, directory)
  const page = await openMachine(t, await writeConfig(directory, broker, {}))
  await device.publish(address(), inference('normal', { features: { rms: 7 } }))
  await page.until(() => page.trend().length === 1 && page.parts().incomplete != null)
  assert.deepEqual(page.trend(), [7])
  assert.match(page.parts().incomplete!, /no store is configured/)
})
