import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { Row } from '../../bench/benchmark.ts'
import { nodeFlags, root } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'

test('the broker benchmark compares ours with bare Aedes, each in a process of its own', async t => {
  const file = join(await temporaryDirectory(t), 'rows.json')
  const args = [...nodeFlags, 'bench/main.ts', 'broker', '--quick', '--json', file]
  await promisify(execFile)(process.execPath, args, { cwd: root })
  const { rows } = JSON.parse(await readFile(file, 'utf8')) as { rows: Row[] }
  for (const qos of [0, 1]) {
    const row = rows.find(
      ({ case: name, metric }) => name === `QoS ${qos}, 200 B, 1 to 1, aedes` && metric === 'messages/s',
    )
    assert.ok(row && row.ours > 0 && row.reference! > 0 && row.ratio! > 0, JSON.stringify(rows))
  }
})
