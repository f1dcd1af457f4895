import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FaultlineError, identityOf, type Message } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { type Benchmark, rowOf } from './benchmark.ts'
import { benchSecret } from './broker-load.ts'
import { measureInstalled } from './device-installed.ts'
import { type DeviceCase, deviceFigures } from './device-run.ts'
import { InstalledAgent } from './installed-agent.ts'

/** What a device agent takes beside its bare model, and what it sends in a day. */
export const deviceBenchmark: Benchmark = {
  description: 'a device agent: memory, time beside its bare model, eight points at once, bytes in a day',
  async run() {
    const directory = await mkdtemp(join(tmpdir(), 'faultline-bench-'))
    const host = fork(join(import.meta.dirname, 'broker-host.ts'), ['ours', join(directory, 'broker.db')])
    const [port] = (await Promise.race([once(host, 'message'), ended(host, 'the broker')])) as [number]
    const url = `mqtt://127.0.0.1:${port}`
    const server = await startServer(url)
    try {
      const installed = new InstalledAgent(join(directory, 'agent'))
      await installed.install()
      const overhead = await figuresOf('overhead', url, installed.flags)
      const days: Record<string, Record<string, number>> = {}
      for (const [name, what] of Object.entries(dayCases)) days[what] = await figuresOf(name as DeviceCase, url)
      const everything = Object.values(days)[0]!.everything! / 1e6
      return {
        rows: [
          rowOf('one window, published', 'ms of processor', overhead.agentMs!, overhead.bareMs),
          rowOf('one window, published', 'ms beside the model', overhead.besideMs!, undefined, '<= 1 ms'),
          ...(await measureInstalled(installed, url)),
          ...Object.entries(days).flatMap(([what, { packets, wire }]) => {
            const aim = what.startsWith('sound, by exception') ? '<= 1 MB' : undefined
            return [
              rowOf(what, 'MB of MQTT a day', packets! / 1e6, everything, aim),
              rowOf(what, 'MB on the link a day', wire! / 1e6),
            ]
          }),
        ],
        notes: [
          'reference: the bare model (onnx) in a process of its own, and for bytes every window sent',
          'processor time: medians of seven rounds of 300 windows that take turns with the bare model, with the flags of an installed agent',
          'installed: bundled and started as launcher and unit file do it, with the status page, by exception',
          'a day: the first one of a sound machine, and four hours times six; one window a second, a server that is always right, summaries and health by size',
          'on the link: what TLS, TCP and IP add, estimated, and pings every 240 s',
          ...Object.entries(days).map(([what, figures]) => `${what}, kB on the link: ${partsOf(figures)}`),
        ],
      }
    } finally {
      await server.stop()
      host.disconnect()
      await rm(directory, { recursive: true, force: true })
    }
  },
}

const dayCases: Record<Exclude<DeviceCase, 'overhead'>, string> = {
  sound: 'sound, by exception',
  'sound-paced': 'sound, by exception, healthyEveryS 10',
  faulty: 'faulty, by exception',
  'sound-every': 'sound, every inference',
}

/** What a day is made of, the most first. */
function partsOf({
  packets: _p,
  wire: _w,
  everything: _e,
  judged: _j,
  audits: _a,
  ...kinds
}: Record<string, number>): string {
  const sorted = Object.entries(kinds).sort(([, a], [, b]) => b - a)
  return sorted.map(([kind, bytes]) => `${kind} ${Math.round(bytes / 1e3)}`).join(', ')
}

/** Rejects when a process ends, which is none of anybody's concern once it has said what it had to say. */
function ended(child: ChildProcess, what: string): Promise<never> {
  const end = once(child, 'exit').then(([code]) => {
    throw new FaultlineError('INTERNAL', `${what} ended with ${code}`)
  })
  end.catch(() => {})
  return end
}

async function figuresOf(
  name: DeviceCase,
  url: string,
  flags: readonly string[] = [],
): Promise<Record<string, number>> {
  const execArgv = [...process.execArgv, ...flags]
  const child = fork(join(import.meta.dirname, 'device-run.ts'), [name, url], { execArgv })
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
          probabilities: [1, 0],
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
