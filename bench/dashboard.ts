import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Broker } from '@faultline/broker'
import { FlowRunner } from '@faultline/flows'
import { hashSecret, type Inference, identityOf, newId, newSecret, parseIdentity } from '@faultline/protocol'
import { MqttSession, type Service, silentLogger } from '@faultline/runtime'
import { chromium, type Page } from 'playwright-core'
import { type Benchmark, type BenchmarkResult, type Row, rowOf } from './benchmark.ts'

const devices = 10
const machinesEach = 100
/** Of every machine together. */
const windowsPerSecond = 500
const site = 'plant-a'
const pages = ['fleet', 'alarms', 'decisions', 'devices', 'machine'] as const
const model = { name: 'bearings', version: '1.0.0', digest: 'sha256:0123456789ab' }
const password = newSecret()

const machineOf = (number: number): string => `machine-${String(number).padStart(4, '0')}`

/** What a browser gets of 1,000 machines, through the broker, the shipped flow and a web socket, and how soon it shows it. */
export const dashboardBenchmark: Benchmark = {
  description: 'updates of the pages of 1,000 machines in a browser: how many, how large, how soon',
  async run({ quick }) {
    const directory = await mkdtemp(join(tmpdir(), 'faultline-bench-'))
    const services: Service[] = []
    try {
      return await measure(directory, services, quick ? 2_000 : 10_000)
    } finally {
      for (const service of services.reverse()) await service.stop()
      await rm(directory, { recursive: true, force: true })
    }
  },
}

async function measure(directory: string, services: Service[], measureMs: number): Promise<BenchmarkResult> {
  const add = async <S extends Service>(service: S): Promise<S> => {
    await service.start()
    services.push(service)
    return service
  }
  const secret = newSecret()
  const secretHash = await hashSecret(secret)
  const broker = await add(
    new Broker({
      port: 0,
      registry: {
        credential: name => ({ identity: parseIdentity(name), secretHash }),
        certificate: () => undefined,
        version: () => '',
      },
      logger: silentLogger,
    }),
  )
  const access = { url: `mqtt://127.0.0.1:${broker.port}`, secret, logger: silentLogger }
  const runner = await add(
    new FlowRunner({
      userDirectory: directory,
      port: 0,
      broker: { ...access, identity: identityOf('flows', 'bench') },
      adminPassword: password,
      logger: silentLogger,
    }),
  )
  const sessions = await Promise.all(
    Array.from({ length: devices }, async (_, i) => {
      const session = await add(
        new MqttSession({ ...access, identity: identityOf('device', site, `pi-${i}`), subscriptions: [] }),
      )
      await session.whenOnline()
      await session.publish({ kind: 'state', site, device: `pi-${i}` }, stateOf(i))
      return session
    }),
  )
  const fleet = await add(new Windows(sessions))
  const browser = await chromium.launch({ executablePath: chromiumPath(), args: ['--no-sandbox', '--disable-gpu'] })
  services.push({ start: async () => {}, stop: () => browser.close() })
  const page = await browser.newPage()
  const received = await countFrames(page)
  await logIn(page, runner.dashboardUrl)

  const rows: Row[] = []
  for (const name of pages) {
    received.splice(0)
    const one = new URLSearchParams({ site, machine: machineOf(1) })
    await page.goto(new URL(name === 'machine' ? `machine?${one}` : name, runner.dashboardUrl).href)
    await page.locator('[data-ready="true"]').waitFor()
    const first = received.reduce((sum, bytes) => sum + bytes, 0)
    await page.waitForTimeout(1_000)
    received.splice(0)
    await page.waitForTimeout(measureMs)
    const seconds = measureMs / 1_000
    rows.push(
      rowOf(name, 'updates/s', received.length / seconds, undefined, '<= 2'),
      rowOf(name, 'kB/s', received.reduce((sum, bytes) => sum + bytes, 0) / seconds / 1_000),
      rowOf(name, 'kB until shown', first / 1_000),
    )
  }
  const delays = await delaysOf(page, runner.dashboardUrl, fleet, measureMs > 5_000 ? 40 : 5)
  const at = (share: number) => delays[Math.min(delays.length - 1, Math.floor(share * delays.length))]!
  rows.push(
    rowOf('event to page', 'ms, median', at(0.5)),
    rowOf('event to page', 'ms, 95th percentile', at(0.95), undefined, '<= 1000 ms'),
    rowOf('event to page', 'ms, longest', at(1)),
  )
  const notes = [
    `${devices * machinesEach} machines at ${devices} devices, ${windowsPerSecond} windows a second; broker, Node-RED and load in one process, Chromium beside it`,
    'updates: messages over the web socket that change the page; event to page: from the publish of a window to its text in the list of machines',
  ]
  return { rows, notes }
}

/** Windows of all machines in turn, all normal but those of every fiftieth machine. */
class Windows implements Service {
  private readonly sessions: readonly MqttSession[]
  private timer: NodeJS.Timeout | undefined
  private next = 0

  constructor(sessions: readonly MqttSession[]) {
    this.sessions = sessions
  }

  async start(): Promise<void> {
    const everyMs = 50
    const each = (windowsPerSecond * everyMs) / 1_000
    this.timer = setInterval(() => {
      // The first machine is left for who measures how soon a window is seen.
      for (let i = 0; i < each; i++) {
        this.next = (this.next + 1) % (devices * machinesEach)
        if (this.next > 0) this.publish(this.next, this.next % 50 === 0 ? 'ball' : 'normal').catch(() => {})
      }
    }, everyMs)
  }

  async stop(): Promise<void> {
    clearInterval(this.timer)
  }

  publish(number: number, label: string): Promise<void> {
    const i = Math.floor(number / machinesEach)
    const address = { kind: 'inference', site, device: `pi-${i}`, point: `point-${number % machinesEach}` } as const
    return this.sessions[i]!.publish(address, windowOf(machineOf(number), label))
  }
}

/** ms from the publish of a window to its answer in the list, sorted; while every line of the list changes. */
async function delaysOf(page: Page, url: string, windows: Windows, count: number): Promise<number[]> {
  await page.goto(url)
  await page.getByRole('columnheader', { name: 'Machine' }).getByRole('button').click()
  const line = `[data-machine="${machineOf(0)}"]`
  await page.locator(line).waitFor()
  const delays: number[] = []
  for (let i = 0; i < count; i++) {
    const label = i % 2 === 0 ? 'inner-race' : 'outer-race'
    // Not in step with the updates.
    await page.waitForTimeout(300 + Math.random() * 500)
    const shown = page.evaluate(shownAt(line, label === 'inner-race' ? 'Inner race' : 'Outer race')) as Promise<number>
    await page.evaluate('0') // The one before has begun.
    const start = Date.now()
    await windows.publish(0, label)
    delays.push((await shown) - start)
  }
  return delays.sort((a, b) => a - b)
}

/** In the browser, whose clock is this process's: when a text came to stand in a line. */
const shownAt = (line: string, text: string): string => `new Promise(resolve => {
  const look = () => document.querySelector('${line}')?.textContent.includes('${text}')
  const observer = new MutationObserver(() => {
    if (!look()) return
    observer.disconnect()
    resolve(Date.now())
  })
  observer.observe(document.body, { subtree: true, childList: true, characterData: true })
})`

async function logIn(page: Page, url: string): Promise<void> {
  await page.goto(url)
  await page.getByLabel('Name').fill('admin')
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.locator('[data-ready="true"]').waitFor()
}

/** Sizes of the messages for pages, as they come over the web socket. */
async function countFrames(page: Page): Promise<number[]> {
  const sizes: number[] = []
  page.on('websocket', socket => {
    socket.on('framereceived', ({ payload }) => {
      const text = payload.toString()
      if (text.includes('msg-input:')) sizes.push(Buffer.byteLength(text))
    })
  })
  return sizes
}

const stateOf = (i: number) => ({
  online: true as const,
  at: new Date().toISOString(),
  boot: 1,
  clockSynchronised: true,
  agentVersion: '0.1.0',
  models: [],
  policy: { name: 'default', parameters: {} },
  points: Array.from({ length: machinesEach }, (_, point) => ({
    point: `point-${point}`,
    machine: machineOf(i * machinesEach + point),
    rateHz: 12_000,
    windowSamples: 2_048,
  })),
})

const windowOf = (machine: string, label: string): Inference => ({
  id: newId(),
  at: new Date().toISOString(),
  machine,
  label,
  confidence: 0.97,
  decidedBy: 'local',
  outcome: 'accepted',
  reason: 'cheaper-to-accept',
  numbers: { score: 0.97, right: 0.98, price: 0.2 },
  local: { label, confidence: 0.97, model },
  latencyMs: 4,
  features: { rms: 0.1, kurtosis: 3, crestFactor: 4, velocityRms: 1.2 },
})

function chromiumPath(): string {
  return execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim()
}
