import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { startAgentBroker } from '../support/agent-broker.ts'
import { observe } from '../support/observer.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { FaultyProgram } from './faulty-program.ts'
import { seeds } from './seeds.ts'

const faultsMs = 10_000

async function outlive(t: TestContext, seed: number): Promise<void> {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const directory = await temporaryDirectory(t)
  const { url, secret } = broker
  const start = async (entry: string, config: object, rate: number) => {
    const file = join(directory, `${entry.split('/')[0]}.yaml`)
    await writeFile(file, JSON.stringify({ broker: { url, secret }, ...config })) // JSON is YAML.
    const program = new FaultyProgram(t, [entry, '--config', file], { seed, rate, directory })
    await program.program.said(/connected to the broker/, 120_000)
    return program
  }
  const archive = { directory: join(directory, 'archive') }
  const server = await start(
    'server-agent/main.ts',
    { server: 'server-1', models: ['models/bearing-server'], workers: 1, archive },
    0.2,
  )
  const device = await start(
    'device-agent/main.ts',
    {
      site: 'plant-a',
      device: 'pi-1',
      dataDirectory: join(directory, 'data'),
      model: 'models/bearing-local',
      engine: 'onnx',
      policy: { name: 'always', parameters: {} },
      deadlineMs: 5_000,
      healthIntervalS: 1,
      points: [{ point: 'motor-de', machine: 'press-3', source: { kind: 'simulated', intervalMs: 100 } }],
    },
    0.2,
  )
  await watcher.seeOne('inference', ({ decidedBy }) => decidedBy === 'server')
  for (const program of [server, device]) await program.turnOn()
  // Commands that are acknowledged while calls fail: each has a result in the end.
  const pings = Array.from({ length: 20 }, (_, i) => `ping-${i}`)
  for (const id of pings) {
    await watcher.session.publish({ kind: 'command', site: 'plant-a', device: 'pi-1' }, { id, name: 'ping', args: {} })
    await pause(faultsMs / pings.length)
  }
  for (const [name, program] of [
    ['server agent', server],
    ['device agent', device],
  ] as const) {
    assert.ok(program.isRunning, `${name}: ${program.program.output.slice(-5_000)}`)
    await program.turnOff()
    const thrown = await program.thrown()
    t.diagnostic(`seed ${seed}: ${thrown} calls of the ${name} failed`)
    // A device agent does without a store that has failed, and tries it again seconds later.
    assert.ok(thrown > 0, `${thrown} calls of the ${name} failed`)
  }
  const before = watcher.of('inference').length
  const decided = () =>
    watcher
      .of('inference')
      .slice(before)
      .filter(({ payload }) => payload.decidedBy === 'server')
  const signal = AbortSignal.timeout(30_000)
  while (decided().length < 5 && !signal.aborted) await pause(100)
  assert.ok(decided().length >= 5, device.program.output.slice(-3_000))
  for (const id of pings) await watcher.seeOne('command-result', result => result.id === id)
  // Each window ended in one way; one whose message could not be taken out of the spool came more than once.
  const { counters } = watcher.of('health').at(-1)!.payload
  const { windows, accepted, answered, late, rejected, offline, withheld, pending } = counters
  assert.equal(accepted + answered + late + rejected + offline + withheld + pending, windows)
  for (const { program } of [device, server]) {
    assert.match(program.output, /injected/, 'errors are logged')
    assert.doesNotMatch(program.output, /unhandled error/)
    assert.equal(await program.stop(), 0, program.output.slice(-3_000))
  }
}

for (const seed of seeds()) {
  test(
    `a device agent and a server agent whose stores fail at random calls live and decide, seed ${seed}`,
    {
      timeout: 240_000,
    },
    t => outlive(t, seed),
  )
}
