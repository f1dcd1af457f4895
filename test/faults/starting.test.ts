import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Registry } from '@faultline/provisioning'
import { initAuthority } from '../../provisioning/authority.ts'
import { startAgentBroker } from '../support/agent-broker.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { FaultyProgram } from './faulty-program.ts'
import { seeds } from './seeds.ts'

interface Program {
  entry: string
  /** Its configuration, for a registry or a broker; or its arguments. */
  config?: (paths: { directory: string; registry: string; access: object }) => object
  args?: (registry: string) => string[]
  running: RegExp
}

const programs: Record<string, Program> = {
  broker: {
    entry: 'broker/main.ts',
    config: ({ directory, registry }) => ({ port: 0, registry, store: join(directory, 'broker.db') }),
    running: /broker listens/,
  },
  recorder: {
    entry: 'telemetry/main.ts',
    config: ({ directory, access }) => ({
      broker: { ...access, identity: 'recorders/main' },
      store: { kind: 'sqlite', path: join(directory, 'telemetry.db'), retention: { rawDays: 1 } },
      spool: { directory: join(directory, 'spool') },
    }),
    running: /connected to the broker/,
  },
  'device agent': {
    entry: 'device-agent/main.ts',
    config: ({ directory, access }) => ({
      broker: access,
      site: 'plant-a',
      device: 'pi-1',
      dataDirectory: join(directory, 'data'),
      model: 'models/bearing-local',
      engine: 'onnx',
      points: [{ point: 'motor-de', machine: 'press-3', source: { kind: 'simulated', intervalMs: 1_000 } }],
    }),
    running: /connected to the broker/,
  },
  'server agent': {
    entry: 'server-agent/main.ts',
    config: ({ directory, access }) => ({
      broker: access,
      server: 'server-1',
      models: ['models/bearing-server'],
      workers: 1,
      archive: { directory: join(directory, 'archive') },
    }),
    running: /connected to the broker/,
  },
  'provisioning service': {
    entry: 'provisioning/main.ts',
    args: registry => ['serve', '--registry', registry, '--host', '127.0.0.1', '--port', '0'],
    running: /provisioning service listens/,
  },
}

async function start(t: TestContext, { entry, config, args, running }: Program, seed: number): Promise<void> {
  const { url, secret } = await startAgentBroker(t)
  const directory = await temporaryDirectory(t)
  const registry = join(directory, 'registry.db')
  await initAuthority(registry, 'Test fleet', 2)
  const made = new Registry(registry)
  await made.start()
  await made.stop()
  const settings = join(await temporaryDirectory(t), 'settings.yaml')
  const paths = { directory, registry, access: { url, secret } }
  if (config) await writeFile(settings, JSON.stringify(config(paths)))
  const program = new FaultyProgram(t, [entry, ...(args?.(registry) ?? ['--config', settings])], {
    seed,
    rate: 0.15,
    directory,
    fromStart: true,
  })
  const output = () => program.program.output.slice(-4_000)
  const isRunning = await Promise.race([
    program.program.said(running, 120_000).then(
      () => true,
      () => program.isRunning && assert.fail(`it hangs: ${output()}`),
    ),
    program.program.exited.then(() => false),
  ])
  const errors = program.program.output.match(/^error .*$/gm) ?? []
  t.diagnostic(`seed ${seed}: ${await program.thrown()} calls failed; ${isRunning ? 'it runs' : errors[0]}`)
  assert.doesNotMatch(program.program.output, /unhandled error/, output())
  if (isRunning) {
    await program.turnOff()
    if ((await program.thrown()) > 0) assert.match(program.program.output, /injected|disk|DATABASE_FAILED/, output())
    assert.equal(await program.program.stop(), 0, output())
    return
  }
  assert.equal(await program.program.exited, 1, output())
  assert.equal(errors.length, 1, output())
  assert.match(errors[0]!, /^error [A-Z_]+: ./)
  assert.doesNotMatch(program.program.output, /^ {4}at /m, output())
}

for (const [name, program] of Object.entries(programs)) {
  for (const seed of seeds()) {
    test(
      `a ${name} whose files fail at random calls while it starts runs, or ends with one coded error, seed ${seed}`,
      {
        timeout: 180_000,
      },
      t => start(t, program, seed),
    )
  }
}
