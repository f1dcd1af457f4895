import type { TestContext } from 'node:test'
import { Broker } from '@faultline/broker'
import {
  type Alarm,
  type DeviceState,
  type Health,
  hashSecret,
  type Identity,
  type Inference,
  identityOf,
  parseIdentity,
  type ServerState,
} from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { fixedRegistry } from '../support/registry.ts'

type After = Pick<TestContext, 'after'>

const secret = 'a secret that everybody in these tests has'
const secretHash = await hashSecret(secret)

/** A broker on a free port at which every identity is enrolled. */
export async function startBroker(t: After, port = 0) {
  const registry = fixedRegistry(name => ({ identity: parseIdentity(name), secretHash }))
  const broker = new Broker({ port, registry, logger: silentLogger })
  await broker.start()
  t.after(() => broker.stop())
  const flows = { url: `mqtt://127.0.0.1:${broker.port}`, identity: identityOf('flows', 'test'), secret }
  return { url: flows.url, port: broker.port, flows, stop: () => broker.stop() }
}

/** Clients of a broker: an operator that hears every alarm, and devices that say what they are told to. */
export async function startClients(t: After, url: string) {
  const alarms: Alarm[] = []
  const sessions: MqttSession[] = []
  let wake = () => {}
  t.after(() => Promise.all(sessions.map(session => session.stop())))

  const connect = async (identity: Identity, subscriptions: string[] = []): Promise<MqttSession> => {
    const session = new MqttSession({
      url,
      identity,
      secret,
      subscriptions,
      onMessage: message => {
        if (message.kind === 'alarm') alarms.push(message.payload)
        wake()
      },
      logger: silentLogger,
      backOff: { initialMs: 50, maximumMs: 100 },
    })
    sessions.push(session)
    await session.start()
    await session.whenOnline()
    return session
  }

  await connect(identityOf('operator', `test-${operators++}`), ['faultline/v1/alarms/+/+/+'])
  return {
    /** Every alarm heard so far. */
    alarms,
    device: (name: string, site = 'plant-a') => connect(identityOf('device', site, name)),
    server: (name: string) => connect(identityOf('server', name)),
    /** The first alarm, heard already or still to come, that fits. */
    alarm: async (fits: (alarm: Alarm) => boolean): Promise<Alarm> => {
      for (;;) {
        const found = alarms.find(fits)
        if (found) return found
        await new Promise<void>(resolve => {
          wake = resolve
        })
      }
    },
  }
}

let operators = 0
let windows = 0

const model = { name: 'local', version: '1', digest: 'sha256:0123456789ab' }

export function inference(label: string, fields: Partial<Inference> = {}): Inference {
  return {
    id: `w${++windows}`,
    at: new Date(Date.UTC(2026, 0, 1) + windows * 1000).toISOString(),
    machine: 'press-1',
    label,
    confidence: 0.9,
    decidedBy: 'local',
    outcome: 'accepted',
    reason: 'confident',
    local: { label, confidence: 0.9, model },
    latencyMs: 4,
    features: { rms: 0.1 },
    ...fields,
  }
}

export const address = (device = 'pi-1', point = 'motor-de') =>
  ({ kind: 'inference', site: 'plant-a', device, point }) as const

export const deviceState = (machine: string, point = 'motor-de'): DeviceState => ({
  online: true,
  at: new Date().toISOString(),
  boot: 1,
  clockSynchronised: true,
  agentVersion: '0.1.0',
  models: [],
  policy: { name: 'threshold', parameters: {} },
  points: [{ point, machine, rateHz: 12_000, windowSamples: 2048 }],
})

export const serverState = (): ServerState => ({
  online: true,
  at: new Date().toISOString(),
  boot: 1,
  agentVersion: '0.1.0',
  models: [],
  capacity: { maxBatch: 32, maxQueue: 256 },
  load: { queued: 0, answered: 0, rejected: 0, windowsPerSecond: 0 },
})

export const health = (windows: number, escalated: number): Health => ({
  at: new Date().toISOString(),
  uptimeS: 60,
  counters: {
    windows,
    accepted: windows - escalated,
    answered: escalated,
    late: 0,
    rejected: 0,
    offline: 0,
    withheld: 0,
    pending: 0,
  },
  audits: 0,
  revisions: 0,
  errors: 0,
  queues: { spool: 0, pending: 0 },
  roundTripMs: { median: 23, p95: 60, samples: escalated },
  bytes: { sent: windows * 700 + escalated * 4200, escalations: escalated * 4200, received: escalated * 300 },
  memoryBytes: 90_000_000,
})

export const alarmOf = (machine: string, fault: string, state: Alarm['state']): Alarm => ({
  site: 'plant-a',
  machine,
  fault,
  state,
  priority: 'medium',
  acknowledged: state === 'acknowledged' || state === 'normal',
  since: '2026-01-01T11:59:00.000Z',
  at: '2026-01-01T11:59:00.000Z',
  count: 4,
  evidence: [],
})
