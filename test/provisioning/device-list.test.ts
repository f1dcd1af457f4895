import assert from 'node:assert/strict'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Registry } from '@faultline/provisioning'
import { initAuthority } from '../../provisioning/authority.ts'
import { readDeviceList } from '../../provisioning/device-list.ts'
import { startScript } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'

test('a list names devices, in either order of its columns', async t => {
  const file = join(await temporaryDirectory(t), 'devices.csv')
  await writeFile(file, '\ufeffdevice,site\r\n"press-1", plant-a\r\n\r\npump-2,plant-a\r\n')
  const names = (await readDeviceList(file, () => false)).map(({ name }) => name)
  assert.deepEqual(names, ['devices/plant-a/press-1', 'devices/plant-a/pump-2'])
})

test('every line that is wrong is named', async t => {
  const file = join(await temporaryDirectory(t), 'devices.csv')
  const refuse = async (text: string, message: RegExp) => {
    await writeFile(file, text)
    const isEnrolled = (name: string) => name.endsWith('old')
    await assert.rejects(readDeviceList(file, isEnrolled), { code: 'CSV_INVALID', message })
  }
  const good = 'site,device\nplant-a,press-1\n'
  await refuse(
    `${good}Plant A,x\nplant-a,press-1\nplant-a,\nplant-a,old\n`,
    /line 3: .*Plant A.*; line 4: .* is on line 2 already; line 5: .*; line 6: .* enrolled already\. Nothing was enrolled$/,
  )
  await refuse(`${good}plant-a,b,c\n`, /line 3: /)
  await refuse(`${good}"plant-a,b\n`, /line \d: /)
  await refuse('plant,device\n', /the columns must be site and device/)
  for (const text of ['', 'site,device\n']) await refuse(text, /no devices|columns/)
  await refuse(`site,device\n${'x y,z\n'.repeat(100)}`, /line 21: .*; and 80 more/)
  await assert.rejects(
    readDeviceList(join(file, 'no'), () => false),
    { code: 'CONFIG_UNREADABLE' },
  )
})

test('of two processes that enrol the same thousands at once one enrols all of them, the other none', async t => {
  const directory = await temporaryDirectory(t)
  const path = join(directory, 'registry.db')
  await initAuthority(path, 'Fleet', 1)
  const devices = Array.from({ length: 1_000 }, (_, i) => `plant-a,press-${i}`)
  const programs = await Promise.all(
    [devices, devices.toReversed()].map(async (lines, i) => {
      const csv = join(directory, `list-${i}.csv`)
      const out = join(directory, `tokens-${i}.csv`)
      await writeFile(csv, `site,device\n${lines.join('\n')}\n`)
      const args = ['enroll', '--csv', csv, '--out', out, '--registry', path]
      return { out, program: startScript(t, 'provisioning/main.ts', args) }
    }),
  )
  const statuses = await Promise.all(programs.map(({ program }) => program.exited))
  const said = programs.map(({ program }) => program.output).join('\n')
  assert.deepEqual([...statuses].sort(), [0, 2], said)
  const winner = programs[statuses.indexOf(0)]!
  const loser = programs[statuses.indexOf(2)]!
  assert.match(winner.program.output, /enrolled 1000 devices/)
  assert.match(loser.program.output, /^error (CSV_INVALID|IDENTITY_EXISTS): .*\n$/m)
  await assert.rejects(stat(loser.out), { code: 'ENOENT' })
  assert.equal((await stat(winner.out)).mode & 0o777, 0o600)
  const rows = (await readFile(winner.out, 'utf8')).trim().split('\n')
  assert.equal(rows.length, 1_001)
  assert.match(rows[1]!, /^plant-a,press-\d+,\S{32},2\S+Z$/)
  const registry = new Registry(path)
  await registry.start()
  t.after(() => registry.stop())
  assert.equal(registry.list().length, 1_000)
  assert.equal(registry.history().length, 1_000)
})
