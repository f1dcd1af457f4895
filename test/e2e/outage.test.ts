import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Counters } from '@faultline/protocol'
import { Site } from '../support/site.ts'

const devices = ['press-1', 'press-2']

const sum = ({ accepted, answered, late, rejected, offline, withheld, pending }: Counters): number =>
  accepted + answered + late + rejected + offline + withheld + pending

type RunningSite = Awaited<ReturnType<typeof startSite>>

/** Every window is escalated, often and impatiently, so that an outage shows at once. */
async function startSite(t: Parameters<typeof Site.create>[0]) {
  const site = await Site.create(t)
  const serverConfig = await site.enroll(['--role', 'server', '--id', 'alpha'], { engine: 'onnx' })
  const configs = await Promise.all(
    devices.map(device =>
      site.enroll(['--site', 'plant-a', '--device', device], {
        engine: 'onnx',
        dataDirectory: site.dataDirectory(device),
        policy: { name: 'always', parameters: {} },
        deadlineMs: 2_000,
        healthIntervalS: 0.5,
        points: [{ point: 'motor-de', machine: `motor-${device}`, source: { kind: 'simulated', intervalMs: 200 } }],
      }),
    ),
  )
  const broker = await site.startBroker()
  await site.listen()
  const server = site.start('server-agent/main.ts', serverConfig)
  const agents = configs.map(config => site.start('device-agent/main.ts', config))
  await Promise.all(
    devices.map(device =>
      site.nextInference(
        `verdict for ${device}`,
        ({ machine, decidedBy }) => machine === `motor-${device}` && decidedBy === 'server',
      ),
    ),
  )
  return { site, broker, server, serverConfig, agents }
}

test('two devices, a server agent and a broker', { timeout: 180_000 }, async t => {
  const site = await startSite(t)
  await t.test('a killed server agent leaves local answers, marked so, until it is back', () => killServer(site))
  await t.test('a killed broker that comes back has every agent again, and no counter is lost', () => killBroker(site))
})

async function killServer({ site, server, serverConfig }: RunningSite): Promise<void> {
  const will = site.next(
    'will of the server agent',
    message => message.kind === 'server-state' && !message.payload.online,
  )
  await server.stop('SIGKILL')
  await will
  const fallback = await site.nextInference('local answer', ({ decidedBy }) => decidedBy === 'local-fallback')
  assert.equal(fallback.outcome, 'late')
  assert.equal(fallback.label, fallback.local.label)
  assert.equal(fallback.server, undefined)

  site.start('server-agent/main.ts', serverConfig)
  const answered = await site.nextInference('verdict after the return', ({ outcome }) => outcome === 'answered')
  assert.equal(answered.decidedBy, 'server')
  for (const device of devices) {
    const { counters } = await site.nextHealth(device)
    assert.equal(sum(counters), counters.windows)
    assert.ok(counters.late > 0 && counters.answered > 0, JSON.stringify(counters))
  }
}

async function killBroker({ site, broker, agents }: RunningSite): Promise<void> {
  const before = await Promise.all(devices.map(device => site.nextHealth(device)))

  await broker.stop('SIGKILL')
  await Promise.all(agents.map(agent => agent.said(/connection to the broker lost/)))
  await site.startBroker()

  await Promise.all(
    devices.map(async (device, i) => {
      const { counters, uptimeS } = await site.nextHealth(
        device,
        ({ counters }) => counters.answered > before[i]!.counters.answered,
      )
      assert.equal(sum(counters), counters.windows)
      assert.ok(uptimeS > before[i]!.uptimeS, 'the agent was not started anew')
      for (const key of ['windows', 'answered', 'late', 'offline'] as const) {
        assert.ok(counters[key] >= before[i]!.counters[key], `${key} of ${device} went back`)
      }
    }),
  )
  const states = site.messages.filter(message => message.kind === 'server-state' && message.payload.online)
  assert.ok(states.length > 1, 'the server agent did not return')
}
