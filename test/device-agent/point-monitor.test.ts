import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { silentLogger } from '@faultline/runtime'
import { PointMonitor } from '../../device-agent/point-monitor.ts'
import { ManualSource } from '../support/manual-source.ts'

function monitored() {
  const source = new ManualSource()
  let signal: AbortSignal | undefined
  const windows = source.windows.bind(source)
  source.windows = given => {
    signal = given
    return windows(given)
  }
  const handlers = { window: async () => {}, failed() {}, takes: () => false, sensor() {} }
  const monitor = new PointMonitor({ point: 'p', machine: 'm', source }, handlers, silentLogger)
  return { monitor, source, listeners: () => getEventListeners(signal!, 'abort').length }
}

test('captures leave no listener behind, whether a window comes or not', async () => {
  const { monitor, source, listeners } = monitored()
  await monitor.start()
  const before = listeners()
  for (let i = 0; i < 10; i++) {
    const captured = monitor.next(60_000)
    source.give(0.5)
    await captured
    await assert.rejects(monitor.next(1), { code: 'SENSOR_FAILED' })
  }
  assert.ok(listeners() <= before + 1, `${listeners()} listeners, ${before} before`)
  await monitor.stop()
})

test('a capture that a stop interrupts, or that comes after it, says so', async () => {
  const { monitor } = monitored()
  await monitor.start()
  const refused = assert.rejects(monitor.next(60_000), { code: 'SENSOR_FAILED', message: 'p was stopped' })
  await monitor.stop()
  await refused
  await assert.rejects(monitor.next(60_000), { code: 'SENSOR_FAILED', message: 'p was stopped' })
})
