import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { FlowRunner } from '@faultline/flows'
import { encodePayload, identityOf, topicOf } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import RED from 'node-red'
import type { FleetTotals } from '../../flows/dashboard/fleet-view.ts'
import type { Update } from '../../flows/dashboard/viewers.ts'
import { TestBroker } from '../runtime/test-broker.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { deviceState, serverState } from './fixtures.ts'

const devices = Array.from({ length: 50 }, (_, i) => `pi-${i}`)
const stateOf = (device: string) => topicOf({ kind: 'state', site: 'plant-a', device })
const serverTopic = topicOf({ kind: 'server-state', server: 'gpu-1' })

test('devices that came back while the retained wills were under way are online on the pages', async t => {
  const broker = new TestBroker()
  await broker.start()
  t.after(() => broker.stop())
  // As after a restart of the broker: it has published the wills of everything that was connected.
  const will = { online: false, boot: 1 } as const
  for (const device of devices) await broker.stored(stateOf(device), encodePayload('state', will))
  await broker.stored(serverTopic, encodePayload('server-state', will))
  let send = () => {}
  broker.retainedAfter = new Promise(resolve => {
    send = resolve
  })
  const subscribed = new Promise<void>(resolve => {
    broker.onSubscribed = resolve
  })

  const userDirectory = await temporaryDirectory(t)
  await writeFile(
    join(userDirectory, 'flows.json'),
    JSON.stringify([
      { id: 'tab', type: 'tab', label: 'test' },
      { id: 'broker', type: 'faultline-broker' },
      {
        id: 'fleet',
        type: 'faultline-fleet',
        z: 'tab',
        x: 0,
        y: 0,
        broker: 'broker',
        intervalMs: 100,
        wires: [['sink']],
      },
      { id: 'sink', type: 'junction', z: 'tab', x: 0, y: 0, wires: [[]] },
    ]),
  )
  const shown = new Map<string, Update>()
  let wake = () => {}
  RED.hooks.add('onSend.test', (events: { source: { id: string }; msg: { payload?: unknown } }[]) => {
    for (const { source, msg } of events) shown.set(source.id, msg.payload as Update)
    wake()
  })
  const until = async (isSo: () => boolean | undefined) => {
    while (!isSo()) {
      await new Promise<void>(resolve => {
        wake = resolve
      })
    }
  }
  const runner = new FlowRunner({
    userDirectory,
    port: 0,
    broker: { url: broker.url, identity: identityOf('flows', 'test'), secret: 'secret' },
    logger: silentLogger,
  })
  await runner.start()
  t.after(() => runner.stop())
  await subscribed

  for (const [i, device] of devices.entries())
    await broker.stored(stateOf(device), encodePayload('state', deviceState(`press-${i}`)))
  await broker.stored(serverTopic, encodePayload('server-state', serverState()))
  const sent = new Promise<void>(resolve => {
    broker.onRetainedSent = resolve
  })
  send()
  await sent
  // Comes after all of them, and is retained, so that it is heard whatever was lost before.
  await broker.stored(stateOf('last'), encodePayload('state', deviceState('press-last')))

  RED.nodes.getNode('fleet').receive({ topic: 'look', _client: { socketId: 'browser' } })
  const totals = () => shown.get('fleet')?.parts.totals as FleetTotals | undefined
  await until(() => totals()?.devices.known === devices.length + 1)
  assert.deepEqual(totals()?.devices, { known: devices.length + 1, online: devices.length + 1 })
  assert.deepEqual(totals()?.servers, { known: 1, online: 1 })
})
