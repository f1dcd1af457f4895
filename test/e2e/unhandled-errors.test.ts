import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { runCommand } from '../support/command.ts'
import { nodeFlags, type RunningProgram, root, startProgram } from '../support/processes.ts'
import { Site } from '../support/site.ts'
import { temporaryDirectory } from '../support/temp.ts'

const preload = join(root, 'test', 'runtime', 'fixtures', 'unhandled-error.mjs')

/** Raises an error in a program that runs, and checks that the program says so, stops what it runs and fails. */
async function checkEnd(program: RunningProgram): Promise<void> {
  program.child.kill('SIGUSR2')
  const code = await program.exited
  assert.equal(code, 1, program.output)
  const line = program.output.split('\n').find(text => text.includes('unhandled error; the process stops'))
  assert.ok(line, program.output)
  const { level, code: coded, origin, error, stack } = JSON.parse(line) as Record<string, unknown>
  assert.deepEqual(
    { level, coded, origin, error },
    {
      level: 60,
      coded: 'INTERNAL',
      origin: 'unhandledRejection',
      error: 'raised by the test',
    },
  )
  assert.match(String(stack), /unhandled-error\.mjs/)
  assert.doesNotMatch(program.output.slice(program.output.indexOf(line)), /"origin":"stop"/)
}

test('an error that nothing handles is logged, stops each program in order and fails it', async t => {
  const site = await Site.create(t)
  const directory = await temporaryDirectory(t)
  const registry = join(site.directory, 'registry.db')
  const start = (entry: string, ...args: string[]) =>
    startProgram(t, process.execPath, ['--import', preload, ...nodeFlags, entry, ...args])
  const flows = join(directory, 'flows.yaml')
  const url = `mqtt://127.0.0.1:${site.port}`
  const settings = {
    broker: { url, identity: 'flows/main', secret: 'unknown' },
    userDirectory: join(directory, 'flows'),
    port: 0,
  }
  await writeFile(flows, JSON.stringify(settings))
  const device = await site.enroll(['--site', 'plant-a', '--device', 'press-1'], {
    dataDirectory: site.dataDirectory('press-1'),
    points: [{ point: 'motor-de', machine: 'press', source: { kind: 'simulated' } }],
  })
  const server = await site.enroll(['--role', 'server', '--id', 'alpha'], { engine: 'onnx' })
  assert.equal((await runCommand('provisioning/main.ts', ['init', '--registry', registry])).code, 0)
  const recorder = await site.enrollRecorder()
  const broker = join(directory, 'broker.yaml')
  await writeFile(broker, JSON.stringify({ port: site.port, registry, store: join(directory, 'broker.db') }))
  const started = start('broker/main.ts', '--config', broker)
  await started.said(/broker listens/)
  for (const [entry, args, ready] of [
    ['telemetry/main.ts', ['--config', recorder.config], /connected to the broker/],
    ['server-agent/main.ts', ['--config', server], /connected to the broker/],
    ['device-agent/main.ts', ['--config', device], /connected to the broker/],
    ['provisioning/main.ts', ['serve', '--registry', registry, '--port', '0'], /provisioning service listens/],
    ['flows/main.ts', ['--config', flows], /flows running/],
  ] as const) {
    await t.test(entry, async () => {
      const program = start(entry, ...args)
      await program.said(ready, 60_000)
      await checkEnd(program)
    })
  }
  await t.test('broker/main.ts', async () => {
    await checkEnd(started)
    assert.match(started.output, /broker stopped/)
  })
})
