import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '@faultline/inference'
import { newId } from '@faultline/protocol'
import { startAgentBroker } from '../support/agent-broker.ts'
import { device, point, site, startDevice, startVoice } from '../support/edge.ts'
import { collectedHeap, hostilePayload } from '../support/hostile-payloads.ts'
import { observe } from '../support/observer.ts'
import { sample } from '../support/tiny-models.ts'

const total = 3_000
const burst = 60
const seed = 20_262
const growthBoundBytes = 4_000_000

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))

test('3,000 mutated verdicts, configurations and commands leave a device agent up and at work', async t => {
  const broker = await startAgentBroker(t)
  const edge = await startDevice(t, broker)
  await edge.online()
  const voice = await startVoice(t, broker)
  const watcher = await observe(t, broker)
  const { session } = watcher
  const verdict = {
    id: newId(),
    label: 'fault',
    confidence: 0.9,
    probabilities: [0.1, 0.9],
    model: { name: 'server', version: '1.0.0', digest: 'sha256:1111111111111111' },
    agent: 'voice',
    queueMs: 1,
    inferMs: 2,
  }
  const config = { policy: { name: 'threshold', parameters: { threshold: 0.8 } }, price: 0.2, deadlineMs: 5_000 }
  const kinds = [
    { by: voice, address: { kind: 'verdict', site, device, point }, valid: () => verdict },
    {
      by: session,
      address: { kind: 'config-desired', site, device },
      valid: (n: number) => ({ revision: n + 1, config }),
    },
    { by: session, address: { kind: 'command', site, device }, valid: () => ({ id: newId(), name: 'ping', args: {} }) },
  ] as const

  let early = 0
  for (let sent = 0; sent < total; sent += burst) {
    await Promise.all(
      Array.from({ length: burst }, (_, i) => {
        const { by, address, valid } = kinds[i % kinds.length]!
        const random = new Random(seed * 2 ** 32 + sent + i)
        return by.publishRaw(address, hostilePayload(valid(sent + i), json, random))
      }),
    )
    const [inference] = await edge.infer(sample.normal)
    assert.ok(inference, `no inference after ${sent + burst} payloads of seed ${seed}`)
    if (sent + burst === total / 5) early = collectedHeap()
  }
  const late = collectedHeap()
  const { errors } = edge.agent.health!
  t.diagnostic(`${errors} refused; heap ${(early / 1e6).toFixed(1)} MB early, ${(late / 1e6).toFixed(1)} MB late`)
  assert.ok(edge.agent.online)
  assert.ok(errors > total / 4, `${errors} errors`)
  assert.equal(edge.inferences.length, total / burst)
  assert.ok(late - early < growthBoundBytes, `the heap grew by ${late - early} bytes`)
  assert.equal(({} as { polluted?: boolean }).polluted, undefined)

  // What it is told properly it still does.
  await session.publish({ kind: 'command', site, device }, { id: 'after', name: 'ping', args: {} })
  await watcher.seeOne('command-result', ({ id }) => id === 'after')
})
