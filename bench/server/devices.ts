import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type Bundle, Random } from '@faultline/inference'
import { encodePayload, encodeWindow, identityOf, newId, topicOf } from '@faultline/protocol'
import mqtt from 'mqtt'
import { frameOf } from './frames.ts'
import { windowFor } from './windows.ts'

/** What a device hears about one window. */
export interface Heard {
  answered: boolean
  inferMs: number
}

/** A device of the load: sends one window, and calls back with what it hears. */
export interface LoadDevice {
  send(heard: (answer: Heard) => void): void
  close(): Promise<void>
}

const site = 'bench'
const point = 'motor-de'

/** An escalation whose bytes are made once; only its id is written anew, so that the load costs little itself. */
function templateOf(bundle: Bundle): { bytes: Buffer; idAt: number } {
  const window = windowFor(bundle)
  const id = newId()
  const { classes, task } = bundle.description
  const bytes = encodePayload('escalation', {
    v: 1,
    id,
    at: new Date().toISOString(),
    machine: 'press-3',
    reason: 'below-threshold',
    deadline: new Date(Date.now() + 60_000).toISOString(),
    task,
    local: {
      label: classes[0]!,
      confidence: 0.6,
      probabilities: classes.map((_, i) => (i === 0 ? 0.6 : 0.4 / (classes.length - 1))),
      digest: 'sha256:1111111111111111',
    },
    window: encodeWindow(window),
    ...(window.shaftHz !== undefined && { shaftHz: window.shaftHz }),
  })
  return { bytes, idAt: bytes.indexOf(id) }
}

export async function mqttDevice(url: string, secret: string, bundle: Bundle, index: number): Promise<LoadDevice> {
  const device = `pi-${index}`
  const { name } = identityOf('device', site, device)
  const address = { site, device, point }
  const client = await mqtt.connectAsync(url, { clientId: name, username: name, password: secret, protocolVersion: 4 })
  ;(client.stream as Socket).setNoDelay(true)
  const waiting = new Map<string, (answer: Heard) => void>()
  client.on('message', (_, payload) => {
    const {
      id,
      rejected,
      inferMs = 0,
    } = JSON.parse(payload.toString()) as { id: string; rejected?: string; inferMs?: number }
    waiting.get(id)?.({ answered: rejected === undefined, inferMs })
    waiting.delete(id)
  })
  await client.subscribeAsync(topicOf({ kind: 'verdict', ...address }), { qos: 1 })
  const topic = topicOf({ kind: 'escalation', ...address })
  const { bytes, idAt } = templateOf(bundle)
  return {
    send(heard) {
      const id = newId()
      const payload = Buffer.from(bytes)
      payload.write(id, idAt)
      waiting.set(id, heard)
      client.publish(topic, payload, { qos: 1 })
    },
    close: () => client.endAsync(true),
  }
}

export async function tcpDevice(port: number, bundle: Bundle): Promise<LoadDevice> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.setNoDelay(true)
  const waiting: ((answer: Heard) => void)[] = []
  let rest = ''
  socket.setEncoding('utf8').on('data', text => {
    const lines = (rest + text).split('\n')
    rest = lines.pop()!
    for (const line of lines) waiting.shift()?.({ answered: true, inferMs: (JSON.parse(line) as Heard).inferMs })
  })
  const frame = frameOf(encodeWindow(windowFor(bundle)).bytes)
  return {
    send(heard) {
      waiting.push(heard)
      socket.write(frame)
    },
    close: async () => {
      socket.destroy()
    },
  }
}

/** Moments of a Poisson process, in ms from its beginning. */
export function* arrivals(perSecond: number, random = new Random(1)): Generator<number> {
  for (let at = 0; ; ) {
    at -= (Math.log(1 - random.uniform()) / perSecond) * 1_000
    yield at
  }
}
