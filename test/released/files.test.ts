import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { brokerConfig } from '@faultline/broker'
import { deviceAgentConfig } from '@faultline/device-agent'
import { loadBundle } from '@faultline/inference'
import type { Alarm } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import { checkConfig, inspectStore, lowerSchema, openReadOnly, readEntries } from '@faultline/runtime'
import { ArchiveReader, serverAgentConfig } from '@faultline/server-agent'
import { recorderConfig } from '@faultline/telemetry'
import { parseDocument } from 'yaml'
import { storeKinds } from '../../fleet/store-kinds.ts'
import { flowsConfig } from '../../flows/config.ts'
import { RolloutStore } from '../../provisioning/rollouts/store.ts'
import { observe } from '../support/observer.ts'
import { freePort, type RunningProgram, startScript } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { unpack } from './collect.ts'
import { storedInferences } from './facts.ts'
import { type Facts, releasedDirectory, releasedVersions } from './format.ts'

const limitMs = 120_000

const configurations = {
  broker: brokerConfig,
  recorder: recorderConfig,
  spare: recorderConfig,
  flows: flowsConfig,
  server: serverAgentConfig,
  'pi-1': deviceAgentConfig,
  'pi-2': deviceAgentConfig,
}

async function unpacked(t: TestContext, version: string): Promise<{ directory: string; facts: Facts }> {
  const directory = await temporaryDirectory(t)
  await unpack(join(releasedDirectory, version, 'site'), directory)
  const facts = JSON.parse(await readFile(join(releasedDirectory, version, 'facts.json'), 'utf8')) as Facts
  return { directory, facts }
}

/** Changes one entry of a configuration file. */
async function change(file: string, path: readonly (string | number)[], value: unknown): Promise<void> {
  const document = parseDocument(await readFile(file, 'utf8'))
  document.setIn(path, value)
  await writeFile(file, document.toString())
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + limitMs
  while (!holds()) {
    assert.ok(performance.now() < deadline, what)
    await delay(200)
  }
}

const isWithin = (part: readonly string[], whole: Iterable<string>): boolean => {
  const all = new Set(whole)
  return part.every(item => all.has(item))
}

for (const version of releasedVersions()) {
  test(`stores, configuration files, rollouts, an archive and a bundle of ${version} are opened`, async t => {
    const { directory, facts } = await unpacked(t, version)
    for (const [name, schema] of Object.entries(configurations)) {
      const file = join(directory, 'configuration', `${name}.yaml`)
      checkConfig(schema, await readEntries(file), file, () => {})
    }
    const databases = databasesIn(directory)
    assert.equal(databases.length, 7)
    for (const path of databases) {
      const { fault, kind } = inspectStore(path, storeKinds)
      assert.deepEqual([fault, typeof kind], [undefined, 'string'], path)
    }

    const registry = new Registry(join(directory, 'registry.db'))
    await registry.start()
    t.after(() => registry.stop())
    assert.deepEqual(
      registry
        .list()
        .map(({ name }) => name)
        .sort(),
      Object.keys(facts.identities).sort(),
    )
    assert.ok(readFileSync(join(directory, 'ca.key'), 'utf8').includes('PRIVATE KEY'))

    const rollouts = new RolloutStore(join(directory, 'rollouts.db'))
    await rollouts.start()
    t.after(() => rollouts.stop())
    assert.deepEqual(
      facts.rollouts.map(({ id }) => ({ id, state: rollouts.show(id).state })),
      facts.rollouts,
    )
    assert.deepEqual(
      rollouts.devices('r-2').map(({ state }) => state),
      ['offered', 'waiting'],
    )

    const archive = ArchiveReader.open(join(directory, 'archive'))
    assert.ok(facts.archive.windows > 0)
    assert.equal(
      archive.tasks().reduce((sum, task) => sum + archive.count(task), 0),
      facts.archive.windows,
    )

    const bundle = await loadBundle(join(directory, 'bundle'))
    assert.equal(
      bundle.description.name,
      JSON.parse(readFileSync(join(directory, 'bundle', 'bundle.json'), 'utf8')).name,
    )
  })

  test(`a site of ${version} goes on with today's programs, and nothing that waited is lost`, {
    timeout: 300_000,
  }, async t => {
    const { directory, facts } = await unpacked(t, version)
    const schemas = databasesIn(directory).map((path): [string, number] => [path, schemaOf(path)])
    const port = await freePort()
    const url = `mqtt://127.0.0.1:${port}`
    const configuration = (name: string) => join(directory, 'configuration', `${name}.yaml`)
    await change(configuration('broker'), ['port'], port)
    for (const name of ['recorder', 'spare', 'flows', 'server', 'pi-1', 'pi-2'])
      await change(configuration(name), ['broker', 'url'], url)
    await change(configuration('spare'), ['store'], { kind: 'sqlite', path: join(directory, 'spare.db') })
    // Another fault than before, so that an alarm is raised that was not there.
    await change(configuration('pi-1'), ['points', 0, 'source', 'fault'], 'ball')
    const programs: RunningProgram[] = []
    const start = async (entry: string, name: string, ready: RegExp) => {
      const program = startScript(t, entry, ['--config', configuration(name)])
      programs.push(program)
      await program.said(ready)
    }
    const connected = /connected to the broker/

    await start('broker/main.ts', 'broker', /broker listens/)
    const access = { url, secret: facts.identities['operators/watcher']! }
    const observer = await observe(t, access, 'watcher')
    await observer.see('alarm', () => true, facts.alarms.length)
    const nameOf = ({ machine, fault }: Alarm) => `${machine}/${fault}`
    const byName = (alarms: readonly Alarm[]) => alarms.toSorted((a, b) => nameOf(a).localeCompare(nameOf(b)))
    assert.deepEqual(byName(observer.of('alarm').map(({ payload }) => payload)), byName(facts.alarms))
    assert.ok(
      facts.alarms.some(({ acknowledged }) => acknowledged) && facts.alarms.some(({ acknowledged }) => !acknowledged),
    )

    await start('telemetry/main.ts', 'recorder', connected)
    await start('telemetry/main.ts', 'spare', connected)
    const telemetry = () => storedInferences(join(directory, 'telemetry.db'))
    assert.ok(facts.broker.queuedInferences.length > 0 && facts.telemetry.inferences.length > 0)
    assert.ok(isWithin(facts.telemetry.inferences, telemetry()))
    await until('what the broker kept for the recorder', () => isWithin(facts.broker.queuedInferences, telemetry()))
    assert.ok(facts.spare.points > 0)
    await until(
      'what waited in the spool of a recorder',
      () => pointsIn(join(directory, 'spare.db')) >= facts.spare.points,
    )

    await start('server-agent/main.ts', 'server', connected)
    await start('flows/main.ts', 'flows', /flows running/)
    for (const [device, before] of Object.entries(facts.devices)) {
      assert.ok(before.waitingInferences.length > 0 && before.policyStates > 0)
      await start('device-agent/main.ts', device, connected)
      await until(`what waited on ${device}`, () => isWithin(before.waitingInferences, telemetry()))
      assert.ok(isWithin(before.settings, settingsOf(directory, device)))
    }
    const state = await observer.seeOne(
      'state',
      ({ online, ...rest }) => online && 'points' in rest && rest.points.length === 2,
    )
    const [phase] = ('points' in state ? state.points : []).flatMap(({ commissioning }) => commissioning?.phase ?? [])
    assert.equal(phase, 'ready', 'a point has to learn again what is normal')
    const acknowledged = facts.alarms.find(alarm => alarm.acknowledged)!
    await observer.seeOne('alarm', alarm => nameOf(alarm) === 'motor-1/ball' && alarm.acknowledged)
    assert.ok(
      observer.of('alarm').some(({ payload }) => nameOf(payload) === nameOf(acknowledged) && payload.acknowledged),
    )
    for (const program of programs.reverse()) {
      await program.stop()
      assert.doesNotMatch(program.output, /message refused|"level":(50|60)/)
    }
    // What a migration adds has to be able to go again, so that the release before it opens the store.
    for (const [path, schema] of schemas) {
      lowerSchema(path, storeKinds, schema)
      assert.equal(schemaOf(path), schema, path)
    }
  })
}

/** Stores of ours. */
const databasesIn = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter(path => path.endsWith('.db') && !path.startsWith('node-red'))
    .map(path => join(directory, path))

const schemaOf = (path: string): number => inspectStore(path, storeKinds).schema!.found

function pointsIn(path: string): number {
  const store = openReadOnly(path)
  const { count } = store.prepare('SELECT count(*) AS count FROM points').get() as { count: number }
  store.close()
  return count
}

function settingsOf(directory: string, device: string): string[] {
  const database = openReadOnly(join(directory, device, 'agent.db'))
  const names = database
    .prepare('SELECT name FROM settings')
    .all()
    .map(({ name }) => String(name))
  database.close()
  return names
}
