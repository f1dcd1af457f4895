import { setTimeout as delay } from 'node:timers/promises'
import { loadBundle } from '@faultline/inference'
import { arrivals, type Heard, type LoadDevice, mqttDevice, tcpDevice } from './devices.ts'

/** `load-program.ts DIRECTORY DEVICES mqtt URL SECRET`, or `… tcp PORT`: the devices, all in this one process. */
export interface LoadQuestion {
  devices: number
  durationMs: number
  /** Escalations per second in all, whatever comes back; when absent each device sends the next when it has an answer. */
  perSecond?: number
}

export interface LoadAnswer {
  /** Answers per second, and other ends. */
  answered: number
  rejected: number
  p50: number
  p99: number
  /** Median of what answers say of the model. */
  inferMs: number
}

const [directory = '', count = '1', kind, where = '', secret = ''] = process.argv.slice(2)
const bundle = await loadBundle(directory)
const all: LoadDevice[] = []
for (let i = 0; i < Number(count); i++)
  all.push(await (kind === 'mqtt' ? mqttDevice(where, secret, bundle, i) : tcpDevice(Number(where), bundle)))

async function measure({ devices, durationMs, perSecond }: LoadQuestion): Promise<LoadAnswer> {
  const chosen = all.slice(0, devices)
  const times: number[] = []
  const inferMs: number[] = []
  let rejected = 0
  let pending = 0
  const startedAt = performance.now()
  // Before the first answers of a full server there are none to count.
  const begin = startedAt + durationMs / 3
  const end = begin + durationMs
  const send = (device: LoadDevice, then: () => void) => {
    const sentAt = performance.now()
    pending++
    device.send((heard: Heard) => {
      const now = performance.now()
      pending--
      if (now >= begin && now < end) {
        if (heard.answered) {
          times.push(now - sentAt)
          inferMs.push(heard.inferMs)
        } else rejected++
      }
      then()
    })
  }
  const again = (device: LoadDevice) => {
    if (performance.now() < end) send(device, () => again(device))
  }
  if (perSecond === undefined) for (const device of chosen) again(device)
  else {
    let turn = 0
    for (const at of arrivals(perSecond)) {
      if (startedAt + at >= end) break
      const wait = startedAt + at - performance.now()
      if (wait > 1) await delay(wait)
      send(chosen[turn++ % chosen.length]!, () => {})
    }
  }
  while (performance.now() < end || pending > 0) await delay(20)
  const seconds = durationMs / 1_000
  return {
    answered: times.length / seconds,
    rejected: rejected / seconds,
    p50: percentile(times, 0.5),
    p99: percentile(times, 0.99),
    inferMs: percentile(inferMs, 0.5),
  }
}

/** Nearest rank; NaN where nothing was measured. */
function percentile(values: number[], share: number): number {
  const sorted = values.sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

const fail = (error: unknown) => {
  console.error(error)
  process.exit(1)
}
process.on('message', (question: LoadQuestion) => {
  measure(question).then(result => process.send?.(result), fail)
})
process.once('disconnect', () => {
  Promise.all(all.map(device => device.close())).then(() => process.exit(0), fail)
})
process.send?.('ready')
