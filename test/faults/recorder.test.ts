import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { identityOf } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { SqliteStore } from '@faultline/telemetry'
import { startAgentBroker } from '../support/agent-broker.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { forever, inference } from '../telemetry/messages.ts'
import { FaultyProgram } from './faulty-program.ts'
import { seeds } from './seeds.ts'

const total = 300
const maxWindows = 10 * total
const minThrown = 10

async function outlive(t: TestContext, seed: number): Promise<void> {
  const broker = await startAgentBroker(t)
  const directory = await temporaryDirectory(t)
  const path = join(directory, 'telemetry.db')
  const config = join(directory, 'recorder.yaml')
  const access = { url: broker.url, identity: 'recorders/main', secret: broker.secret }
  const store = { kind: 'sqlite', path, retention: { rawDays: 36_500 } }
  await writeFile(
    config,
    JSON.stringify({ broker: access, store, spool: { directory: join(directory, 'spool') }, operations: { port: 0 } }),
  )
  const recorder = new FaultyProgram(t, ['telemetry/main.ts', '--config', config], { seed, rate: 0.2, directory })
  await recorder.program.said(/connected to the broker/, 60_000)
  const place = { site: 'plant-a', device: 'press-3' }
  const session = new MqttSession({
    url: broker.url,
    secret: broker.secret,
    identity: identityOf('device', place.site, place.device),
    subscriptions: [],
    logger: silentLogger,
  })
  t.after(() => session.stop())
  await session.start()
  await session.whenOnline()

  await recorder.turnOn()
  const wanted: string[] = []
  const at = Date.now() - 3_600_000
  // How many calls there are depends on how the points fall into batches.
  for (let i = 0; i < maxWindows && (i < total || (await recorder.thrown()) <= minThrown); i++) {
    const id = `window-${i}`
    const payload = inference({ id, at: new Date(at + i).toISOString() })
    await session.publish({ kind: 'inference', ...place, point: 'motor-de' }, payload)
    wanted.push(id)
    if (i % 30 === 29) await pause(300) // So that batches close and are written in between.
  }
  await pause(3_000)
  await recorder.turnOff()
  const thrown = await recorder.thrown()
  t.diagnostic(`seed ${seed}: ${thrown} calls failed`)
  assert.ok(recorder.isRunning, recorder.program.output)
  assert.ok(thrown > minThrown, `${thrown} calls failed`)

  const signal = AbortSignal.timeout(60_000)
  // A damaged store that was set aside is made anew by the next write.
  while (!existsSync(path) && !signal.aborted) await pause(200)
  const reader = new SqliteStore({ path, readOnly: true, retention: forever })
  await reader.start()
  t.after(() => reader.stop())
  const lost = async () => {
    const have = new Set((await reader.inferences({ limit: 10_000 })).map(({ id }) => id))
    return wanted.filter(id => !have.has(id))
  }
  while ((await lost()).length > 0 && !signal.aborted) await pause(200)
  assert.deepEqual(await lost(), [], `lost, seed ${seed}: ${recorder.program.output.slice(-3_000)}`)
  assert.match(recorder.program.output, /injected/, 'errors are logged')
  const counters = ['failed_writes_total', 'held_messages_total', 'failed_upkeep_total', 'damaged_files_total']
  const counted = await Promise.all(counters.map(name => recorder.counted(`faultline_recorder_${name}`)))
  assert.ok(Math.max(...counted) > 0, 'errors are counted')
  assert.doesNotMatch(recorder.program.output, /unhandled error/)
  assert.equal(await recorder.program.stop(), 0, recorder.program.output.slice(-3_000))
}

for (const seed of seeds()) {
  test(
    `a recorder whose stores fail at random calls lives and records all that was acknowledged, seed ${seed}`,
    {
      timeout: 180_000,
    },
    t => outlive(t, seed),
  )
}
