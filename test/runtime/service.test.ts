import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Service, ServiceGroup, terminationSignal } from '@faultline/runtime'

/** Services that write down what happens to them. */
function recorded(...names: string[]): { log: string[]; services: Record<string, Service> } {
  const log: string[] = []
  const services = Object.fromEntries(
    names.map((name): [string, Service] => [
      name,
      {
        start: async () => void log.push(`start ${name}`),
        stop: async () => void log.push(`stop ${name}`),
      },
    ]),
  )
  return { log, services }
}

test('a group starts in order and stops in reverse', async () => {
  const { log, services } = recorded('store', 'broker', 'agent')
  const group = new ServiceGroup(Object.values(services))
  await group.start()
  await group.stop()
  assert.deepEqual(log, ['start store', 'start broker', 'start agent', 'stop agent', 'stop broker', 'stop store'])
})

test('a failed start stops what was started, and says why', async () => {
  const { log, services } = recorded('store', 'broker', 'agent', 'never')
  const reason = new Error('port taken')
  services.agent!.start = () => Promise.reject(reason)
  services.broker!.stop = () => Promise.reject(new Error('hides the reason'))
  await assert.rejects(new ServiceGroup(Object.values(services)).start(), reason)
  assert.deepEqual(log, ['start store', 'start broker', 'stop store'])
})

test('one that fails to stop does not keep the others up', async () => {
  const { log, services } = recorded('store', 'broker', 'agent')
  const group = new ServiceGroup(Object.values(services))
  await group.start()
  log.length = 0
  const reason = new Error('first')
  services.agent!.stop = () => {
    throw reason // Even when it throws instead of rejecting.
  }
  services.broker!.stop = () => Promise.reject(new Error('second'))
  await assert.rejects(group.stop(), reason)
  assert.deepEqual(log, ['stop store'])
})

test('a group that is stopped twice, or was never started, stops nothing again', async () => {
  const { log, services } = recorded('store')
  const group = new ServiceGroup(Object.values(services))
  await group.stop()
  await group.start()
  await group.stop()
  await group.stop()
  assert.deepEqual(log, ['start store', 'stop store'])
})

test('waiting for a signal ends with the first, or when it is called off; the same key press again does no harm', async t => {
  t.after(() => process.removeAllListeners('SIGTERM').removeAllListeners('SIGINT'))
  const received = terminationSignal()
  process.emit('SIGTERM', 'SIGTERM')
  assert.equal(await received, 'SIGTERM')
  // With no handler left, a real second signal would end this process.
  process.kill(process.pid, 'SIGTERM')
  const controller = new AbortController()
  const waiting = terminationSignal(controller.signal)
  controller.abort()
  assert.equal(await waiting, undefined)
  assert.equal(await terminationSignal(AbortSignal.abort()), undefined)
})
