import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { CommandResult } from '@faultline/protocol'
import { startAgentBroker } from '../support/agent-broker.ts'
import { device, point, site, startDevice } from '../support/edge.ts'
import { observe } from '../support/observer.ts'
import { sample, tinySamples } from '../support/tiny-models.ts'

async function commanded(t: TestContext) {
  const broker = await startAgentBroker(t)
  const operator = await observe(t, broker)
  const edge = await startDevice(t, broker)
  await edge.online()
  const command = async (id: string, name: string, args: Record<string, unknown> = {}): Promise<CommandResult> => {
    await operator.session.publish({ kind: 'command', site, device }, { id, name, args })
    return operator.seeOne('command-result', result => result.id === id)
  }
  return { edge, operator, command }
}

test('a waveform is captured as it would be escalated, though nobody judges it', async t => {
  const { edge, operator, command } = await commanded(t)
  await edge.configure(operator, { pace: { paused: [point] } })
  const answered = command('one', 'capture', { point })
  // The command has come when the device has answered the next one.
  await command('two', 'ping')
  edge.source.give(sample.fault)
  const { ok, result } = await answered
  assert.ok(ok)
  const { bytes, scale, dtype, shape } = result as { bytes: string; scale: number; dtype: string; shape: number[] }
  assert.deepEqual([dtype, shape], ['i16', [tinySamples]])
  const first = Buffer.from(bytes, 'base64').readInt16LE(0) * scale
  assert.ok(Math.abs(first - sample.fault) < 1e-3)
  assert.equal(edge.counters.windows, 0)
})

test('a capture of a point that is not there, or gives no window, fails with the reason', async t => {
  const { command } = await commanded(t)
  assert.equal((await command('one', 'capture', { point: 'drive' })).error?.code, 'COMMAND_INVALID')
  assert.equal((await command('two', 'capture', {})).error?.code, 'COMMAND_INVALID')
  const silent = await command('three', 'capture', { point, withinS: 0.01 })
  assert.deepEqual(silent.error, { code: 'SENSOR_FAILED', message: `no window of ${point} within 0.01 s` })
})

test('diagnostics say what runs and how it does', async t => {
  const { edge, command } = await commanded(t)
  await edge.infer(sample.normal)
  const { result } = await command('one', 'diagnose')
  const { boot, points, health, configuration } = result as Record<string, never> & {
    points: { point: string; rateHz: number }[]
    health: { counters: { windows: number } }
    configuration: { revision: number }
  }
  assert.deepEqual([boot, points[0]?.point, health.counters.windows, configuration.revision], [1, point, 1, 0])
})

test('a restart is carried out once, however often it is asked for, and its result arrives', async t => {
  const { edge, operator, command } = await commanded(t)
  assert.deepEqual((await command('one', 'restart')).result, { boot: 1 })
  await operator.seeOne('state', ({ online, boot }) => online && boot === 2)
  await edge.infer(sample.normal)
  const again = { id: 'one', name: 'restart', args: {} }
  await operator.session.publish({ kind: 'command', site, device }, again)
  await operator.see('command-result', ({ id }) => id === 'one', 2)
  assert.equal(((await command('two', 'ping')).result as { boot: number }).boot, 2)
})
