import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { examples, identityOf, type Payload } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { type RunningFleet, startFleet } from '../support/fleet.ts'
import { usualBroker } from '../support/mosquitto.ts'
import { observe } from '../support/observer.ts'
import { temporaryDirectory } from '../support/temp.ts'

/** Publishes as the flows of a fleet do. */
async function publishAsFlows(t: TestContext, fleet: RunningFleet, directory: string, alarm: Payload<'alarm'>) {
  const secrets = JSON.parse(await readFile(join(directory, 'secrets.json'), 'utf8')) as Record<string, string>
  const identity = identityOf('flows', 'local')
  const url = `mqtt://127.0.0.1:${fleet.mqttPort}`
  const session = new MqttSession({
    url,
    identity,
    secret: secrets[identity.name]!,
    subscriptions: [],
    logger: silentLogger,
  })
  await session.start()
  t.after(() => session.stop())
  await session.whenOnline()
  const { site, machine, fault } = alarm
  await session.publish({ kind: 'alarm', site, machine, fault }, alarm)
}

test('alarms and acknowledgements are there again when a fleet is started a second time', {
  skip: usualBroker === 'mosquitto' && 'a broker that is there already keeps its own messages',
  timeout: 120_000,
}, async t => {
  const directory = await temporaryDirectory(t)
  const args = ['--directory', directory, '--devices', '1', '--no-flows']
  const alarm: Payload<'alarm'> = {
    ...examples.alarm.payload,
    site: 'local',
    state: 'acknowledged',
    acknowledged: true,
  }
  const first = await startFleet(t, args)
  await publishAsFlows(t, first, directory, alarm)
  assert.equal(await first.program.stop('SIGINT'), 0, first.program.output)
  const second = await startFleet(t, args)
  const broker = { url: `mqtt://127.0.0.1:${second.mqttPort}`, secret: second.operator.password }
  const observer = await observe(t, broker, 'local')
  assert.deepEqual(await observer.seeOne('alarm'), alarm)
  assert.equal(await second.program.stop('SIGINT'), 0, second.program.output)
  assert.equal((await second.summary()).alarmsRaised, 0)
})
