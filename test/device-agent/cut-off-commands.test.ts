import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { identityOf, type Message, topicFilter } from '@faultline/protocol'
import { MqttSession, openReadOnly, silentLogger } from '@faultline/runtime'
import { fileOf } from '../../device-agent/spool/storage.ts'
import { AgentBroker } from '../support/agent-broker.ts'
import { startScript } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'

const place = { site: 'plant-a', device: 'pi-1' }

/** Whether the command is in the agent's database. */
function isKept(dataDirectory: string, id: string): boolean {
  const database = openReadOnly(fileOf(dataDirectory))
  try {
    return database.prepare('SELECT 1 FROM command_results WHERE id = ?').get(id) !== undefined
  } finally {
    database.close()
  }
}

test('a command that was acknowledged is carried out, though the agent was killed on the way', {
  timeout: 180_000,
}, async t => {
  const broker = new AgentBroker()
  await broker.start()
  t.after(() => broker.stop())
  const heard: Message[] = []
  const operator = new MqttSession({
    url: broker.url,
    secret: broker.secret,
    identity: identityOf('operator', 'anna'),
    subscriptions: [topicFilter('command-result', place), topicFilter('inference', place)],
    onMessage: message => {
      heard.push(message)
      operator.emit('cleared', message.address) // So that the test can wait for it.
    },
    logger: silentLogger,
  })
  t.after(() => operator.stop())
  await operator.start()
  await operator.whenOnline()
  const until = async (isSo: (message: Message) => boolean) => {
    for (;;) {
      const found = heard.find(isSo)
      if (found) return found
      await once(operator, 'cleared', { signal: AbortSignal.timeout(60_000) })
    }
  }

  const directory = await temporaryDirectory(t)
  const dataDirectory = join(directory, 'data')
  const file = join(directory, 'device.yaml')
  const start = async (intervalMs: number) => {
    const config = {
      ...place,
      broker: { url: broker.url, secret: broker.secret },
      dataDirectory,
      model: 'models/bearing-local',
      engine: 'onnx',
      points: [{ point: 'motor-de', machine: 'press-3', source: { kind: 'simulated', intervalMs } }],
    }
    await writeFile(file, JSON.stringify(config)) // JSON is YAML.
    return startScript(t, 'device-agent/main.ts', ['--config', file])
  }
  // After its first window the next is an hour away.
  const first = await start(3_600_000)
  await until(({ kind }) => kind === 'inference')
  const command = { id: 'capture-1', name: 'capture', args: { point: 'motor-de', withinS: 600 } }
  await operator.publish({ kind: 'command', ...place }, command)
  const signal = AbortSignal.timeout(60_000)
  while (!isKept(dataDirectory, command.id)) {
    signal.throwIfAborted()
    await pause(50)
  }
  await first.stop('SIGKILL')

  const second = await start(200)
  const { payload } = (await until(({ kind }) => kind === 'command-result')) as Extract<
    Message,
    { kind: 'command-result' }
  >
  assert.deepEqual([payload.id, payload.ok, payload.error], [command.id, true, undefined])
  await second.stop()
})
