import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { FlowRunner } from '@faultline/flows'
import { identityOf } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { createStore } from '@faultline/telemetry'
import RED from 'node-red'
import { SMTPServer } from 'smtp-server'
import type { BrokerLink } from '../../flows/mqtt/broker-link.ts'
import { pointOf } from '../../telemetry/measurements.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { address, inference, startBroker, startClients } from './fixtures.ts'

/** The example flows as a person imports them, all in one Node-RED; of each only what its tab says to set is set. */
const cleanups: (() => unknown)[] = []
const shared = { after: (work: () => unknown) => void cleanups.push(work) } as Parameters<typeof startBroker>[0]
const examples = new URL('../../flows/examples/', import.meta.url)

const mails: string[] = []
const posts: { url?: string; body: Record<string, unknown> }[] = []
const arrivals = new EventEmitter()
let runner: FlowRunner
let device: MqttSession

async function arrived<T>(list: readonly T[], fits: (entry: T) => boolean, count = 1): Promise<T[]> {
  for (;;) {
    const found = list.filter(fits)
    if (found.length >= count) return found
    await once(arrivals, 'one', { signal: AbortSignal.timeout(60_000) })
  }
}

async function text(stream: AsyncIterable<Buffer>): Promise<string> {
  let whole = ''
  for await (const chunk of stream) whole += chunk.toString('utf8')
  // Quoted-printable: soft line breaks and encoded signs.
  return whole
    .replace(/=\r?\n/g, '')
    .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

before(async () => {
  const broker = await startBroker(shared)
  const clients = await startClients(shared, broker.url)
  device = await clients.device('pi-1')
  const [smtpPort, httpPort] = [await startMailServer(), await startReceiver()]
  const userDirectory = await temporaryDirectory(shared)
  const path = join(userDirectory, 'telemetry.db')
  await recordWindows(path)
  const settings: Record<string, string> = {
    SMTP_HOST: '127.0.0.1',
    SMTP_PORT: String(smtpPort),
    WEBHOOK_URL: `http://127.0.0.1:${httpPort}/hook`,
    CMMS_URL: `http://127.0.0.1:${httpPort}/work-orders`,
    TOKEN: 'of the workshop',
  }
  const flows = await Promise.all(
    (await exampleNames()).map(async name =>
      JSON.parse(await readFile(new URL(encodeURIComponent(name), examples), 'utf8')),
    ),
  )
  const all = flows.flat() as {
    id: string
    type: string
    repeatS?: string
    env?: { name: string; value: string }[]
  }[]
  // They share the broker, as on import.
  const nodes = [...new Map(all.map(node => [node.id, node])).values()]
  for (const node of nodes) {
    for (const entry of node.env ?? []) entry.value = settings[entry.name] ?? entry.value
    if (node.type === 'faultline-alarm') node.repeatS = '0.1'
  }
  await writeFile(join(userDirectory, 'flows.json'), JSON.stringify(nodes))
  runner = new FlowRunner({
    userDirectory,
    port: 0,
    broker: broker.flows,
    store: { kind: 'sqlite', path },
    logger: silentLogger,
  })
  await runner.start()
  shared.after(() => runner.stop())
  await startRecalibratingDevice(broker.url, broker.flows.secret)
  // The flows run before they are connected, and what comes earlier is not theirs.
  const { link } = RED.nodes.getNode(nodes.find(({ type }) => type === 'faultline-broker')!.id) as unknown as {
    link: BrokerLink
  }
  if (!link.online) await once(link, 'online', { signal: AbortSignal.timeout(60_000) })
  for (let i = 0; i < 4; i++) await device.publish(address(), inference('ball', { decidedBy: 'server' }))
})

after(async () => {
  for (const work of cleanups.reverse()) await work()
})

/** All but the first, which is the flow that every runner begins with. */
const exampleNames = async () => (await readdir(examples)).filter(name => !name.startsWith('1')).sort()

async function startMailServer(): Promise<number> {
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS', 'AUTH'],
    onData: (stream, session, done) => {
      text(stream).then(letter => {
        mails.push(`To ${session.envelope.rcptTo.map(({ address }) => address).join()}\n${letter}`)
        arrivals.emit('one')
        done()
      }, done)
    },
  })
  server.listen(0, '127.0.0.1')
  await once(server.server, 'listening')
  shared.after(() => new Promise<void>(resolve => server.close(() => resolve())))
  return (server.server.address() as AddressInfo).port
}

/** Takes what is posted, and answers as a maintenance system does. */
async function startReceiver(): Promise<number> {
  const take = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    posts.push({ url: request.url, body: JSON.parse(await text(request)) as Record<string, unknown> })
    arrivals.emit('one')
    response.setHeader('content-type', 'application/json').end('{"number":"WO-4711"}')
  }
  const server = createServer((request, response) => {
    take(request, response).catch(error => response.destroy(error))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  shared.after(() => {
    server.close()
    server.closeAllConnections()
  })
  return (server.address() as AddressInfo).port
}

async function recordWindows(path: string): Promise<void> {
  const store = createStore({ kind: 'sqlite', path })
  await store.start()
  shared.after(() => store.stop())
  const windows = ['normal', 'normal', 'ball'].map(label => inference(label, { at: new Date().toISOString() }))
  await store.write(windows.map(payload => pointOf({ kind: 'inference', address: address(), payload }, Date.now())!))
}

async function startRecalibratingDevice(url: string, secret: string): Promise<void> {
  const session = new MqttSession({
    url,
    secret,
    identity: identityOf('device', 'plant-a', 'pi-9'),
    subscriptions: ['faultline/v1/devices/plant-a/pi-9/command'],
    logger: silentLogger,
    onMessage: async ({ kind, payload }) => {
      if (kind !== 'command') return
      const { id, name, args } = payload
      const known = args.point === 'motor-de'
      await session.publish(
        { kind: 'command-result', site: 'plant-a', device: 'pi-9' },
        {
          id,
          name,
          at: new Date().toISOString(),
          ok: known,
          ...(known ? { result: { windows: 351 } } : { error: { code: 'COMMAND_INVALID', message: 'no such point' } }),
        },
      )
    },
  })
  shared.after(() => session.stop())
  await session.start()
  await session.whenOnline()
}

test('every example is there, numbered, and says what it is for', async () => {
  assert.deepEqual(await exampleNames(), [
    '2 - Send an e-mail when a machine has a fault.json',
    '3 - Post a message to a chat when a machine has a fault.json',
    '4 - Open a maintenance work order when a machine has a fault.json',
    '5 - Tell the next person when nobody acknowledges an alarm.json',
    '6 - Send a report of the fleet every morning.json',
    '7 - Recalibrate a device after maintenance.json',
  ])
})

test('a fault alarm becomes one e-mail', async () => {
  const isLetter = (mail: string) => /^To maintenance@example.com[\s\S]*Subject: Alarm: ball at press-1/.test(mail)
  const [letter] = await arrived(mails, isLetter)
  assert.match(letter!, /press-1 \(plant-a\): ball, priority medium, 4 windows since/)
  assert.match(letter!, /pi-1\/motor-de {2}ball \(decided by server\)/)
  assert.equal(mails.filter(isLetter).length, 1)
})

test('a fault alarm becomes a message in a chat', async () => {
  const [post] = await arrived(posts, ({ url }) => url === '/hook')
  assert.match(String(post!.body.text), /^press-1 \(plant-a\): ball, priority medium, 4 windows since 20/)
})

test('a fault alarm becomes a work order', async () => {
  const [order] = await arrived(posts, ({ url }) => url === '/work-orders')
  const { key, asset, priority, windows, features } = order!.body
  assert.match(String(key), /^plant-a\/press-1\/ball\/20/)
  assert.deepEqual([asset, priority, (windows as unknown[]).length, features], ['plant-a/press-1', 3, 4, { rms: 0.1 }])
})

test('nobody acknowledges: the first person is told twice, then the next', async () => {
  const notices = await arrived(mails, mail => /^To (anna|ben)@/.test(mail), 4)
  const told = notices.map(mail => /^To (\w+)@[\s\S]*Subject: (.*): ball/.exec(mail)?.slice(1, 3).join(': '))
  // A letter may overtake another on its way through the mail server.
  assert.deepEqual(told.sort(), [
    'anna: Alarm',
    'anna: Still not acknowledged',
    'ben: Nobody has acknowledged',
    'ben: Nobody has acknowledged',
  ])
})

test('the daily report counts the windows of each machine', async () => {
  RED.nodes.getNode('fl-daily-seven').receive({})
  const [report] = await arrived(mails, mail => mail.includes('Subject: Fleet: 1 machines in the last 24 hours'))
  assert.match(report!, /plant-a\/press-1: 1 ball, 2 normal/)
})

test('after maintenance a device is recalibrated, for who has the token', async () => {
  const post = async (body: Record<string, unknown>) => {
    const response = await fetch(new URL('/maintenance/done', runner.dashboardUrl), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    return [response.status, (await response.json()) as Record<string, unknown>] as const
  }
  const done = { site: 'plant-a', device: 'pi-9', point: 'motor-de' }
  assert.deepEqual(await post({ ...done, token: 'guessed' }), [403, { error: 'wrong token' }])
  assert.deepEqual(await post({ ...done, token: 'of the workshop' }), [200, { windows: 351 }])
  const [status, refusal] = await post({ ...done, point: 'elsewhere', token: 'of the workshop' })
  assert.deepEqual([status, refusal.code], [502, 'COMMAND_INVALID'])
})
