import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { metrics, Operations, type OperationsOptions, silentLogger } from '@faultline/runtime'

async function start(t: TestContext, options: Partial<OperationsOptions> = {}) {
  const operations = new Operations({ port: 0, logger: silentLogger, ...options })
  await operations.start()
  t.after(() => operations.stop())
  const get = async (path: string, method = 'GET') => {
    const response = await fetch(`http://127.0.0.1:${operations.port}${path}`, { method })
    return { status: response.status, type: response.headers.get('content-type'), body: await response.text() }
  }
  return { operations, get }
}

test('a process that lives says so, and says why it is not ready', async t => {
  const reasons = ['the broker does not listen', 'the registry cannot be read']
  const { get } = await start(t, { notReady: () => reasons })
  assert.equal((await get('/healthz')).status, 200)
  const waiting = await get('/readyz?verbose')
  assert.deepEqual([waiting.status, waiting.body], [503, `${reasons.join('\n')}\n`])
  reasons.length = 0
  assert.deepEqual([(await get('/readyz')).status, (await get('/readyz')).body], [200, 'ready\n'])
})

test('metrics are those of the process and of its parts', async t => {
  const registry = new metrics.Registry()
  new metrics.Counter({ name: 'faultline_test_total', help: 'A test', registers: [registry] }).inc(3)
  const { get } = await start(t, { registries: [registry] })
  const { status, type, body } = await get('/metrics')
  assert.equal(status, 200)
  assert.match(type ?? '', /^text\/plain; version=0\.0\.4/)
  assert.match(body, /^faultline_test_total 3$/m)
  assert.match(body, /^nodejs_eventloop_lag_p99_seconds [\d.e-]+$/m)
  assert.match(body, /^process_resident_memory_bytes \d+$/m)
  assert.equal((await get('/metrics')).status, 200) // Twice: nothing is registered anew.
})

test('nothing else is answered, and nothing is changed', async t => {
  const { get } = await start(t)
  assert.equal((await get('/')).status, 404)
  assert.equal((await get('/metrics/../../etc/passwd')).status, 404)
  assert.equal((await get('/metrics', 'POST')).status, 405)
})

test('it stops, and starts again', async t => {
  const { operations, get } = await start(t)
  await operations.stop()
  assert.equal(operations.port, 0)
  await operations.start()
  assert.equal((await get('/healthz')).status, 200)
  const taken = new Operations({ port: operations.port, logger: silentLogger })
  await assert.rejects(taken.start(), { code: 'ADDRESS_IN_USE' })
})
