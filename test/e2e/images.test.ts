import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { createSource, sourceConfig } from '@faultline/device-agent'
import { Classifier } from '@faultline/inference'
import { decodeWindow, identityOf, isRejected } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { Recorder } from '@faultline/telemetry'
import { defaultAlarmRule } from '../../flows/alarms/alarm-options.ts'
import { AlarmRule } from '../../flows/alarms/alarm-rule.ts'
import { FleetView } from '../../flows/dashboard/fleet-view.ts'
import { look } from '../../flows/dashboard/look.ts'
import { SqliteStore } from '../../telemetry/stores/sqlite.ts'
import { dataDirectory, missingImages } from '../support/data.ts'
import { startDevice, startServer } from '../support/edge.ts'
import { imageModels } from '../support/image-models.ts'
import { startUsualBroker } from '../support/mosquitto.ts'
import { observe } from '../support/observer.ts'
import { temporaryDirectory } from '../support/temp.ts'

test('images of CIFAR-10 take the way of every window, and are no faults', {
  skip: missingImages(),
  timeout: 120_000,
}, async t => {
  const broker = await startUsualBroker(t)
  const watcher = await observe(t, broker)
  const { trained, ...bundles } = await imageModels(t)
  const [local, server] = await Promise.all(
    [bundles.local, bundles.server].map(directory => Classifier.load(directory, { engine: 'onnx' })),
  )
  t.after(() => Promise.all([local!.dispose(), server!.dispose()]))
  const store = new SqliteStore({ path: ':memory:' })
  await store.start()
  t.after(() => store.stop())
  const recorder = new Recorder({
    broker: { url: broker.url, identity: identityOf('recorder', 'main'), secret: broker.secret },
    store,
    spool: { directory: await temporaryDirectory(t) },
    logger: silentLogger,
    batch: { maxPoints: 500, maxDelayMs: 10 },
  })
  t.after(() => recorder.stop())
  await recorder.start()
  await recorder.whenOnline(AbortSignal.timeout(20_000))
  await startServer(t, broker, { classifiers: new Map([[server!.task, server!]]) })

  const file = join(dataDirectory, 'cifar10', 'test_batch.bin')
  const config = sourceConfig.parse({ kind: 'images', directory: file, intervalMs: 20 })
  const camera = await createSource(config, local!.input, local!.classes)
  const edge = await startDevice(
    t,
    broker,
    {
      classifier: local!,
      policy: { name: 'threshold', parameters: { threshold: 0.9 } },
      auditRate: 0.2,
      deadlineMs: 30_000,
    },
    { point: 'camera', machine: 'belt-1', source: camera },
  )
  const inferences = await watcher.see('inference', () => true, 60)
  const state = await watcher.seeOne('state')
  assert.ok(state.online)
  assert.deepEqual(state.points, [{ point: 'camera', machine: 'belt-1', rateHz: 0, windowSamples: 3_072 }])
  await edge.agent.stop()

  // The picture travels as it is: its bytes are those of the file, pixel after pixel.
  const bytes = await readFile(file)
  const escalations = watcher.of('escalation').map(({ payload }) => payload)
  assert.ok(escalations.length >= 5, `${escalations.length} escalations`)
  for (const { window, task } of escalations) {
    assert.deepEqual([window.dtype, window.shape, window.rateHz, task], ['u8', [32, 32, 3], 0, 'image-class'])
    const { samples } = decodeWindow(window)
    const plane = (channel: number) => Buffer.from(samples.filter((_, i) => i % 3 === channel))
    assert.ok(bytes.includes(Buffer.concat([plane(0), plane(1), plane(2)])), 'the image is in the file')
  }
  const answered = inferences.filter(({ decidedBy }) => decidedBy === 'server')
  assert.ok(answered.length >= 5, `${answered.length} answered`)
  assert.equal(watcher.of('verdict').filter(({ payload }) => isRejected(payload)).length, 0)
  for (const inference of inferences) {
    assert.ok(local!.classes.includes(inference.label), inference.label)
    assert.deepEqual([inference.features, inference.faults], [{}, false])
  }
  const right =
    edge.inferences.filter(({ inference, truth }) => inference.label === truth).length / edge.inferences.length
  if (trained) assert.ok(right > 0.7, `${right} right`)

  // What hears of it keeps it, and raises nothing.
  const rule = new AlarmRule(defaultAlarmRule)
  const view = new FleetView('normal')
  for (const message of watcher.messages) {
    view.apply(message)
    if (message.kind === 'inference')
      assert.deepEqual(rule.observe(message.address, message.payload, new Date(message.payload.at)), [])
  }
  const [row] = view.show(look.parse({})).rows
  assert.equal(row?.machine, 'belt-1')
  assert.equal(row.history.toLowerCase().replaceAll('n', ''), '')
  await recorder.stop()
  const kept = await store.inferences()
  assert.ok(kept.length >= inferences.length, `${kept.length} kept`)
})
