import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { inspectStore, openReadOnly } from '@faultline/runtime'
import { backUp } from '../../fleet/backup/backup.ts'
import { restore } from '../../fleet/backup/restore.ts'
import { storeKinds } from '../../fleet/store-kinds.ts'
import { startFleet } from '../support/fleet.ts'
import { usualBroker } from '../support/mosquitto.ts'
import { observe } from '../support/observer.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { rounds } from '../support/thorough.ts'

/** How many backups the drill takes. */
const drills = Number(process.env.TEST_BACKUPS ?? rounds(10, 0.2))

function inferencesIn(directory: string): Set<unknown> {
  const store = openReadOnly(join(directory, 'telemetry.db'))
  const rows = store.prepare(
    "SELECT fields ->> '$.id' AS id FROM points JOIN series ON series = series.id WHERE measurement = 'inference'",
  )
  const ids = new Set(rows.all().map(({ id }) => id))
  store.close()
  return ids
}

test('backups at random moments under load restore to fleets that start and have lost nothing', {
  skip: usualBroker === 'mosquitto' && 'a broker that is there already keeps its own messages',
  timeout: 60_000 + drills * 60_000,
}, async t => {
  const directory = await temporaryDirectory(t)
  const load = ['--devices', '6', '--speed', '8', '--policy', 'always', '--no-flows']
  const fleet = await startFleet(t, ['--directory', directory, ...load])
  const broker = { url: `mqtt://127.0.0.1:${fleet.mqttPort}`, secret: fleet.operator.password }
  // What an observer sees has been stored for the recorder, whose session is a stored one.
  const observer = await observe(t, broker, 'local')
  await observer.seeOne('inference')
  for (let drill = 0; drill < drills; drill++) {
    await delay(Math.random() * 500)
    const seen = observer.of('inference').map(({ payload }) => payload.id)
    const parent = await temporaryDirectory(t)
    const file = join(parent, 'site.backup')
    await backUp({ roots: [{ name: 'site', path: directory }], output: file })
    const copy = join(parent, 'restored')
    await restore({ file, directory: copy })
    for (const name of (await readdir(copy, { recursive: true })).filter(path => path.endsWith('.db')))
      assert.equal(inspectStore(join(copy, name), storeKinds).fault, undefined, `drill ${drill}: ${name}`)
    const again = await startFleet(t, ['--directory', copy, '--devices', '1', '--no-flows', '--duration', '1'])
    assert.equal(await again.program.exited, 0, again.program.output)
    const kept = inferencesIn(copy)
    const lost = seen.filter(id => !kept.has(id))
    assert.deepEqual(lost, [], `drill ${drill}: ${lost.length} of ${seen.length} inferences lost`)
  }
  assert.equal(await fleet.program.stop('SIGINT'), 0, fleet.program.output)
})
