import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { examples, type Message } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { startScript } from '../support/processes.ts'
import { VersionedSite } from '../support/versioned-site.ts'
import { collect } from './collect.ts'
import { factsOf } from './facts.ts'
import { releasedDirectory } from './format.ts'
import { contractOf, messagesOf, protocolOf, schemasOf } from './messages.ts'

const usage = `Usage: npm run released-files -- [--code DIR]

Runs a small site with the programs of this checkout, or of the one in DIR, and puts the messages and the files that they
write into test/fixtures/released/VERSION/. Run it at every release; it overwrites no set that is there.`

const cleanups: (() => Promise<void>)[] = []
const t = { after: (cleanup: () => Promise<void>) => cleanups.push(cleanup) && undefined }

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { code: { type: 'string' }, help: { type: 'boolean' } } })
  if (values.help) return console.log(usage)
  const code = resolve(values.code ?? '.')
  const { version } = (await import(join(code, 'package.json'), { with: { type: 'json' } })).default
  const target = join(releasedDirectory, version)
  if (existsSync(target)) throw new Error(`${target} is there already: what was released does not change`)
  const protocol = await protocolOf(code)
  const messages = messagesOf(protocol).map(message => JSON.stringify(message))
  const directory = await mkdtemp(join(tmpdir(), 'faultline-released-'))
  cleanups.push(() => rm(directory, { recursive: true }))
  const site = await VersionedSite.create(t, { directory, code, intervalMs: 5_000, speed: 15 })
  await run(site, code)
  await addRollouts(directory, code)
  await mkdir(target, { recursive: true })
  await writeFile(join(target, 'facts.json'), pretty(await factsOf(site, version, contractOf(protocol.protocol))))
  await writeFile(join(target, 'messages.json'), `[\n${messages.join(',\n')}\n]\n`)
  await writeFile(join(target, 'schemas.json'), pretty(withoutDescriptions(schemasOf(protocol))))
  await collect(code, directory, join(target, 'site'))
  console.log(`${target} made`)
}

/** Ends with messages waiting wherever they can: in the broker for a recorder, in a spool of a recorder, on the devices. */
async function run(site: VersionedSite, code: string): Promise<void> {
  const provision = startScript(
    t,
    'provisioning/main.ts',
    ['init', '--registry', join(site.directory, 'registry.db')],
    {},
    code,
  )
  if ((await provision.exited) !== 0) throw new Error(provision.output)
  await site.start('broker')
  await site.start('flows')
  await site.stop('flows')
  await site.addOwnFlow()
  for (const name of ['recorder', 'server', 'flows', 'pi-1', 'pi-2'] as const) await site.start(name)
  const seen = await watch(site)
  await seen(
    message => message.kind === 'alarm' && message.payload.machine === 'motor-1' && message.payload.acknowledged,
  )
  await seen(message => message.kind === 'alarm' && message.payload.machine === 'pump-1')
  await seen(
    message =>
      message.kind === 'state' &&
      message.payload.online &&
      message.payload.points.some(({ commissioning }) => commissioning?.phase === 'ready'),
  )
  await seen(message => message.kind === 'config-reported' && message.payload.revision === 1)
  await site.stop('recorder')
  const spare = startScript(t, 'telemetry/main.ts', ['--config', site.configurationOf('spare')], {}, code)
  await spare.said(/connected to the broker/)
  await delay(2_500)
  await spare.stop()
  for (const name of ['flows', 'server', 'broker'] as const) await site.stop(name)
  await delay(1_500)
  for (const name of ['pi-1', 'pi-2'] as const) await site.stop(name)
  const complaints = site.complaints()
  if (complaints.length > 0) throw new Error(complaints.join('\n'))
}

/** Gives a function that waits for a message; configures a device meanwhile. */
async function watch(site: VersionedSite): Promise<(fits: (message: Message) => boolean) => Promise<void>> {
  const messages: Message[] = []
  const session = new MqttSession({
    ...site.watcher,
    subscriptions: ['faultline/v1/#'],
    onMessage: message => {
      messages.push(message)
    },
    logger: silentLogger,
  })
  t.after(() => session.stop())
  await session.start()
  await session.whenOnline()
  const address = { site: 'plant-a', device: 'pi-1' }
  const config = { policy: { name: 'default', parameters: {} }, deadlineMs: 4_000 }
  await session.publish({ kind: 'config-desired', ...address }, { revision: 1, config })
  await session.publish({ kind: 'command', ...address }, examples.command.payload)
  return async fits => {
    const deadline = performance.now() + 120_000
    while (!messages.some(fits)) {
      if (performance.now() > deadline) throw new Error(`no message fits ${fits}`)
      await delay(100)
    }
  }
}

/** One rollout that is over and one that runs, of an artifact that is nowhere. */
async function addRollouts(directory: string, code: string): Promise<void> {
  const { RolloutStore } = await import(join(code, 'provisioning/rollouts/store.ts'))
  const store = new RolloutStore(join(directory, 'rollouts.db'))
  await store.start()
  const { id: _, probation, ...artifact } = examples['update-offer'].payload
  const terms = { probation, maxFailures: { count: 1 }, advanceAt: 100, lostAfterMs: 86_400_000 }
  store.create('r-1', artifact, terms, [['devices/plant-a/pi-1']])
  store.note('r-1', 'devices/plant-a/pi-1', 'succeeded')
  store.end('r-1', 'done')
  store.create('r-2', artifact, terms, [['devices/plant-a/pi-1'], ['devices/plant-a/pi-2']])
  store.note('r-2', 'devices/plant-a/pi-1', 'offered')
  await store.stop()
}

const withoutDescriptions = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (name, field) => (name === 'description' && typeof field === 'string' ? undefined : field)),
  )

const pretty = (value: unknown): string => `${JSON.stringify(value, null, 1)}\n`

try {
  await main()
} finally {
  for (const cleanup of cleanups.reverse()) await cleanup()
}
process.exit()
