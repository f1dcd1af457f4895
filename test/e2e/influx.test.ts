import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { startFleet } from '../support/fleet.ts'
import { startInfluxd } from '../support/influxd.ts'
import { missing } from '../support/programs.ts'

test('with InfluxDB named, every inference of the run can be counted there', {
  skip: missing('influxd', 'influx'),
  timeout: 120_000,
}, async t => {
  const { url } = await startInfluxd(t)
  const fleet = await startFleet(t, ['--devices', '2', '--duration', '10', '--no-flows', '--influx', url])
  assert.equal(await fleet.program.exited, 0, fleet.program.output)
  const { windows, pending } = await fleet.summary()

  const { port } = new URL(url)
  const query = 'SELECT COUNT(confidence) FROM inference'
  const counted = spawnSync('influx', [
    '-host',
    '127.0.0.1',
    '-port',
    port,
    '-database',
    'faultline',
    '-format',
    'csv',
    '-execute',
    query,
  ])
  const [, row] = counted.stdout.toString().trim().split('\n')
  assert.equal(Number(row?.split(',').at(-1)), windows - pending, counted.stdout.toString() + counted.stderr.toString())
})
