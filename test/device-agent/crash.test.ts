import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Random } from '@faultline/inference'
import type { Budget } from '@faultline/protocol'
import { openStorage } from '../../device-agent/spool/storage.ts'
import { countingBroker } from '../support/counting-broker.ts'
import { startScript } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'

/** Five raw windows of 4.5 kB, fewer than one life would send, and room for reports. */
const budget: Budget = { bytesPerDay: 120_000, escalationBytesPerDay: 25_000, explorationBytesPerDay: 20_000 }

/** Windows that the policy in the agent's database has decided on; the database is sound. */
function keptRounds(dataDirectory: string): number {
  const database = openStorage(dataDirectory)
  try {
    const { integrity_check } = database.prepare('PRAGMA integrity_check').get() as { integrity_check: string }
    assert.equal(integrity_check, 'ok')
    const rows = database.prepare('SELECT state FROM policy_states').all() as { state: string }[]
    assert.equal(rows.length, 1)
    const found = /"policy":"hil-n".*?"rounds":(\d+)/.exec(rows[0]!.state)
    return Number(found?.[1])
  } finally {
    database.close()
  }
}

test('an agent that is killed at any moment spends no byte twice, and its policy goes on where it was', {
  timeout: 300_000,
}, async t => {
  const broker = await countingBroker(t)
  const directory = await temporaryDirectory(t)
  const dataDirectory = join(directory, 'data')
  const file = join(directory, 'device.yaml')
  const config = {
    site: 'plant-a',
    device: 'pi-1',
    broker: { url: broker.url, secret: broker.secret },
    dataDirectory,
    model: 'models/bearing-local',
    engine: 'onnx',
    policy: { name: 'hil-n', parameters: { explorationRate: 0.3 } },
    deadlineMs: 50,
    budget,
    points: [{ point: 'motor-de', machine: 'press-3', source: { kind: 'simulated', intervalMs: 10 } }],
  }
  // JSON is YAML.
  await writeFile(file, JSON.stringify(config))
  const live = async (messages: number, signal: NodeJS.Signals) => {
    const program = startScript(t, 'device-agent/main.ts', ['--config', file])
    const arrived = broker.reached(broker.published.length + messages)
    await Promise.race([arrived, program.exited.then(code => assert.fail(`ended with ${code}: ${program.output}`))])
    await program.stop(signal)
    assert.doesNotMatch(program.output, /kept policy state discarded|not readable|DATABASE_FAILED/)
  }
  const seed = Date.now() % 1_000
  t.diagnostic(`seed ${seed}`)
  const random = new Random(seed)

  await live(40, 'SIGTERM')
  const learned = keptRounds(dataDirectory)
  assert.ok(learned > 0)
  for (let life = 0; life < 2; life++) {
    await live(1 + Math.floor(12 * random.uniform()), 'SIGKILL')
    assert.equal(keptRounds(dataDirectory), learned)
  }
  await live(1, 'SIGTERM')
  assert.ok(keptRounds(dataDirectory) > learned)

  assert.ok(broker.bytes('escalation') > budget.escalationBytesPerDay / 2, 'the budget was hardly put to the test')
  assert.ok(broker.bytes('escalation') <= budget.escalationBytesPerDay, `${broker.bytes('escalation')} bytes escalated`)
  assert.ok(broker.bytes() <= budget.bytesPerDay, `${broker.bytes()} bytes`)
})
