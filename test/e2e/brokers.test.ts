import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import type { BrokerKind } from '../support/mosquitto.ts'
import { missing } from '../support/programs.ts'
import { Site } from '../support/site.ts'
import { thorough } from '../support/thorough.ts'

/** Over ours `outage.test.ts` and others do nearly the same. */
const all: { kind: BrokerKind; name: string; skip: false | string }[] = [
  { kind: 'faultline', name: "this project's broker", skip: false },
  { kind: 'mosquitto', name: 'Mosquitto', skip: missing('mosquitto', 'mosquitto_pub') },
]
const brokers = all.filter(({ kind }) => thorough || kind !== 'faultline')
const devices = ['press-1', 'press-2']

for (const { kind, name, skip } of brokers) {
  test(`escalations, verdicts and telemetry of a fleet go over ${name}`, { skip, timeout: 240_000 }, async t => {
    const site = await Site.create(t, kind)
    const serverConfig = await site.enroll(['--role', 'server', '--id', 'alpha'], { engine: 'onnx' })
    const configs = await Promise.all(
      devices.map(device =>
        site.enroll(['--site', 'plant-a', '--device', device], {
          engine: 'onnx',
          dataDirectory: site.dataDirectory(device),
          policy: { name: 'always', parameters: {} },
          points: [{ point: 'motor-de', machine: `motor-${device}`, source: { kind: 'simulated', intervalMs: 200 } }],
        }),
      ),
    )
    const recorderConfig = await site.enrollRecorder()
    await site.startBroker()
    await site.listen()
    const recorder = site.start('telemetry/main.ts', recorderConfig.config)
    await recorder.said(/connected to the broker/)
    const server = site.start('server-agent/main.ts', serverConfig)
    await server.said(/connected to the broker/)
    const agents = configs.map(config => site.start('device-agent/main.ts', config))
    await Promise.all(agents.map(agent => agent.said(/connected to the broker/)))
    await Promise.all(
      devices.map(device =>
        site.nextInference(
          `verdict for ${device}`,
          ({ machine, decidedBy }) => machine === `motor-${device}` && decidedBy === 'server',
        ),
      ),
    )
    // Each ends when it is asked to; what the recorder was told by then is in its store.
    for (const program of [server, ...agents, recorder]) assert.equal(await program.stop(), 0, program.output)
    const database = new DatabaseSync(recorderConfig.store, { readOnly: true })
    t.after(() => database.close())
    const query = 'SELECT measurement FROM series JOIN points ON points.series = series.id GROUP BY measurement'
    const measurements = database
      .prepare(query)
      .all()
      .map(row => row.measurement)
    for (const expected of ['health', 'inference', 'state', 'verdict'])
      assert.ok(measurements.includes(expected), expected)
  })
}
