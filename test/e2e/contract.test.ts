import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { decodePayload, parseTopic, topicKinds, topicOf } from '@faultline/protocol'
import { type RunningFleet, startFleet } from '../support/fleet.ts'
import { startProgram } from '../support/processes.ts'
import { missing } from '../support/programs.ts'

const common = (fleet: RunningFleet): string[] => [
  '-h',
  '127.0.0.1',
  '-p',
  String(fleet.mqttPort),
  '-u',
  fleet.operator.username,
  '-P',
  fleet.operator.password,
]

function publish(fleet: RunningFleet, topic: string, payload: unknown, ...flags: string[]): void {
  const done = spawnSync('mosquitto_pub', [
    ...common(fleet),
    '-q',
    '1',
    '-t',
    topic,
    '-m',
    JSON.stringify(payload),
    ...flags,
  ])
  assert.equal(done.status, 0, done.stderr.toString())
}

test('an operator sees every topic of the contract with mosquitto_sub', {
  skip: missing('mosquitto_sub', 'mosquitto_pub'),
  timeout: 120_000,
}, async t => {
  const fleet = await startFleet(t, ['--devices', '2', '--duration', '40', '--speed', '2', '--policy', 'always'])
  // %t topic, %x payload in hexadecimal: what a person would pipe into a tool of their own.
  const listener = startProgram(t, 'mosquitto_sub', [...common(fleet), '-t', 'faultline/v1/#', '-F', '%t %x'])
  // A command reaches a device that has subscribed; it says so by its state.
  const online = Buffer.from('{"online":true').toString('hex')
  await listener.said(new RegExp(`devices/local/pi-01/state ${online}`))

  const address = { site: 'local', device: 'pi-01' }
  publish(
    fleet,
    topicOf({ kind: 'config-desired', ...address }),
    { revision: 1, config: { reporting: 'exception', summaryIntervalS: 1 } },
    '-r',
  )
  publish(fleet, topicOf({ kind: 'command', ...address }), { id: 'ping-1', name: 'ping', args: {} })

  // Nothing is pooled in a fleet whose points name no machine type; pooling.test.ts follows pools. Nor has it a third tier,
  // which server-agent/second-opinions.test.ts follows, nor a rollout: updates.test.ts and
  // rollouts.test.ts.
  const elsewhere = /^(evidence|pool|upstream-.*|update-.*|rollout.*)$/
  const pending = new Set<string>(topicKinds.filter(kind => !elsewhere.test(kind)))
  while (pending.size > 0) {
    const kind = [...pending][0]!
    const pattern = new RegExp(
      `${topicOf({
        kind,
        site: 'x',
        device: 'x',
        point: 'x',
        server: 'x',
        machine: 'x',
        fault: 'x',
      } as never).replaceAll('/x', '/[a-z0-9-]+')} ([0-9a-f]+)`,
    )
    const [line, hex] = await listener.said(pattern, 60_000)
    assert.equal(parseTopic(line.split(' ')[0]!)?.kind, kind)
    decodePayload(kind as never, Buffer.from(hex!, 'hex')) // Throws when what travels is not what the contract says.
    pending.delete(kind)
  }
  await listener.stop()
  assert.equal(await fleet.program.stop('SIGINT'), 0, fleet.program.output)
})
