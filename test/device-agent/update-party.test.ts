import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { examples, type Inference, topicFilter, type UpdateOffer } from '@faultline/protocol'
import type { UpdateParty } from '../../device-agent/options.ts'
import { TestBroker } from '../runtime/test-broker.ts'
import { startAgentBroker } from '../support/agent-broker.ts'
import { device as name, site, startDevice, startServer } from '../support/edge.ts'
import { observe } from '../support/observer.ts'
import { sample, tinyLocalModel } from '../support/tiny-models.ts'

test('an agent carries offers and statuses, audits as often as an update asks, and goes on with another model', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const offers: UpdateOffer[] = []
  const inferences: Inference[] = []
  let heard: () => void = () => {}
  const next = () => new Promise<void>(resolve => (heard = resolve))
  const status = examples['update-status'].payload
  const updates: UpdateParty = {
    auditRate: 1,
    connected: voice => voice.status(status),
    disconnected: () => {},
    offered: offer => {
      offers.push(offer)
      heard()
    },
    withdrawn: () => heard(),
    chunk: () => heard(),
    inferred: inference => void inferences.push(inference),
  }
  await startServer(t, broker)
  const device = await startDevice(t, broker, { updates, auditRate: 0 })
  await device.online()
  assert.deepEqual(await watcher.seeOne('update-status'), status)

  const place = { site, device: name }
  let said = next()
  await watcher.session.publish({ kind: 'update-offer', ...place }, examples['update-offer'].payload)
  await said
  assert.deepEqual(offers, [examples['update-offer'].payload])
  said = next()
  await watcher.session.publish({ kind: 'update-chunk', ...place }, examples['update-chunk'].payload)
  await said
  said = next()
  await watcher.session.publishRaw({ kind: 'update-offer', ...place }, Buffer.alloc(0))
  await said

  const [audited] = await device.infer(sample.normal)
  assert.deepEqual([audited?.reason, audited?.decidedBy], ['audit', 'server'])
  assert.deepEqual(inferences, [audited])

  const digest = `sha256:${'7'.repeat(64)}`
  const online = once(device.agent, 'online', { signal: AbortSignal.timeout(20_000) })
  await device.agent.exchange({ ...tinyLocalModel, model: { ...tinyLocalModel.model, digest } }, [])
  await online
  await watcher.seeOne('state', state => state.online && state.models[0]?.digest === digest)
  const [another] = await device.infer(sample.normal)
  assert.ok(digest.startsWith(another!.local.model.digest))
})

test('an agent works with an older broker, which refuses it the topics of updates', async t => {
  const broker = new TestBroker()
  broker.refusedFilters = (['update-offer', 'update-chunk'] as const).map(kind =>
    topicFilter(kind, { site, device: name }),
  )
  await broker.start()
  t.after(() => broker.stop())
  const updates: UpdateParty = {
    auditRate: 0,
    connected: () => {},
    disconnected: () => {},
    offered: () => {},
    withdrawn: () => {},
    chunk: () => {},
    inferred: () => {},
  }
  const device = await startDevice(t, { url: broker.url, secret: '' }, { updates })
  await device.online()
  const [inference] = await device.infer(sample.normal)
  assert.equal(inference?.decidedBy, 'local')
})
