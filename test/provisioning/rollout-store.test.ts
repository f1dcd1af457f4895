import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { FaultlineError } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import { RolloutStore } from '../../provisioning/rollouts/store.ts'
import { temporaryDirectory } from '../support/temp.ts'

/** Another process takes the tables of a store away. */
function dropTables(path: string): void {
  const database = new DatabaseSync(path)
  database.exec('PRAGMA foreign_keys = OFF')
  const names = database
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    .all()
  for (const { name } of names) database.exec(`DROP TABLE ${name}`)
  database.close()
}

/** Calls every method of a store without tables: all of them have to fail with the code they promise. */
async function checkCodes(t: TestContext, path: string, calls: Record<string, () => unknown>): Promise<void> {
  dropTables(path)
  for (const [name, call] of Object.entries(calls)) {
    await t.test(name, async () => {
      await assert.rejects(
        async () => call(),
        (thrown: unknown) => {
          assert.ok(thrown instanceof FaultlineError, `${thrown}`)
          assert.equal(thrown.code, 'DATABASE_FAILED')
          assert.ok(thrown.message.startsWith(`${path}: `), thrown.message)
          return true
        },
      )
    })
  }
}

test('every method of a rollout store whose file fails throws DATABASE_FAILED and names the file', async t => {
  const path = join(await temporaryDirectory(t), 'rollouts.db')
  const store = new RolloutStore(path)
  await store.start()
  t.after(() => store.stop())
  await checkCodes(t, path, {
    create: () => store.create('a', {} as never, {} as never, [['devices/plant-a/a']]),
    list: () => store.list(),
    show: () => store.show('a'),
    devices: () => store.devices('a'),
    note: () => store.note('a', 'devices/plant-a/a', 'failed'),
    end: () => store.end('a', 'done'),
  })
})

test('every method of a registry whose file fails throws DATABASE_FAILED and names the file', async t => {
  const path = join(await temporaryDirectory(t), 'registry.db')
  const registry = new Registry(path)
  await registry.start()
  t.after(() => registry.stop())
  const name = 'devices/plant-a/a'
  await checkCodes(t, path, {
    list: () => registry.list(),
    show: () => registry.show(name),
    history: () => registry.history(),
    credential: () => registry.credential(name),
    certificate: () => registry.certificate('sha256:0'),
    version: () => registry.version(),
    enroll: () => registry.enroll({ role: 'device', site: 'plant-a', id: 'a', name } as never),
    rotate: () => registry.rotate(name),
    revoke: () => registry.revoke(name),
  })
})
