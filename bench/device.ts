import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FaultlineError, identityOf, type Message } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { type Benchmark, rowOf } from './benchmark.ts'
import { benchSecret } from './broker-load.ts'
import { type DeviceCase, deviceFigures } from './device-run.ts'

/** What a device agent takes beside its bare model, and what it sends in a day. */
export const deviceBenchmark: Benchmark = {
  description: 'a device agent: memory, time beside its bare model, eight points at once, bytes in a day',
  async run() {
    const store = join(tmpdir(), `faultline-bench-${process.pid}.db`)
    const host = fork(join(import.meta.dirname, 'broker-host.ts'), ['ours', store])
    const [port] = (await Promise.race([once(host, 'message'), ended(host, 'the broker')])) as [number]
    const url = `mqtt://127.0.0.1:${port}`
    const server = await startServer(url)
    try {
      const bare = await figuresOf('bare', url)
      const overhead = await figuresOf('overhead', url)
      const eight = await figuresOf('eight-points', url)
      const healthy = await figuresOf('healthy', url)
      const faulty = await figuresOf('faulty', url)
      const plain = await figuresOf('default-healthy', url)
      const mb = (bytes: number) => bytes / 1e6
      const day = (figures: Record<string, number>) => mb(figures.bytesPerDay!)
      const everything = mb(healthy.everythingPerDay!)
      return {
        rows: [
          rowOf('one point', 'MB of memory', mb(overhead.memoryBytes!), mb(bare.memoryBytes!), '<= 150 MB'),
          rowOf('one point', 'ms of processor per window', overhead.agentMs!, overhead.bareMs),
          rowOf('one point', 'ms beside the model', overhead.agentMs! - overhead.bareMs!, undefined, '<= 1 ms'),
          rowOf('8 points at 10/s', 'windows per s', eight.windowsPerS!, 80, '>= 0.99'),
          rowOf('8 points at 10/s', 'share of a core', eight.share!),
          rowOf('8 points at 10/s', 'windows passed over', eight.overruns!),
          rowOf('8 points at 10/s', 'MB of memory', mb(eight.memoryBytes!)),
          rowOf('sound, 1 window/s, frugal', 'MB per day', day(healthy), everything, '<= 1 MB'),
          rowOf('faulty, 1 window/s, frugal', 'MB per day', day(faulty), everything),
          rowOf('sound, 1 window/s, as it comes by exception', 'MB per day', day(plain), everything),
        ],
        notes: [
          'reference: the bare model (onnx) in a process of its own, and for bytes every window sent',
          'processor time, medians of seven rounds of 300 windows that take turns with the bare model',
          'a day: two hours on a clock of the windows, times twelve; a server that is always right answers',
          'frugal: by exception, summaries and health every 300 s, audits 0.005, sound points every 10 s',
        ],
      }
    } finally {
      await server.stop()
      host.disconnect()
      for (const end of ['', '-wal', '-shm']) await rm(store + end, { force: true })
    }
  },
}

/** Rejects when a process ends, which is none of anybody's concern once it has said what it had to say. */
function ended(child: ChildProcess, what: string): Promise<never> {
  const end = once(child, 'exit').then(([code]) => {
    throw new FaultlineError('INTERNAL', `${what} ended with ${code}`)
  })
  end.catch(() => {})
  return end
}

async function figuresOf(name: DeviceCase, url: string): Promise<Record<string, number>> {
  const child = fork(join(import.meta.dirname, 'device-run.ts'), [name, url])
  const figures = await Promise.race([once(child, 'message'), ended(child, `the case "${name}"`)])
  return deviceFigures.parse((figures as unknown[])[0])
}

/** Answers every window at once with what is true of its machine. */
async function startServer(url: string): Promise<MqttSession> {
  const session: MqttSession = new MqttSession({
    url,
    secret: benchSecret,
    identity: identityOf('server', 'bench'),
    subscriptions: ['faultline/v1/devices/+/+/points/+/escalation'],
    onMessage: async (message: Message) => {
      if (message.kind !== 'escalation') return
      const { id, machine } = message.payload
      await session.publish(
        { ...message.address, kind: 'verdict' },
        {
          id,
          label: machine === 'faulty' ? 'outer-race' : 'normal',
          confidence: 1,
          probabilities: [1],
          model: { name: 'truth', version: '1.0.0', digest: `sha256:${'0'.repeat(64)}` },
          agent: 'bench',
          queueMs: 0,
          inferMs: 1,
        },
      )
    },
    logger: silentLogger,
  })
  await session.start()
  await session.whenOnline()
  return session
}
