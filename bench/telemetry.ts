import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Random } from '@faultline/inference'
import { silentLogger } from '@faultline/runtime'
import { InfluxStore, SqliteStore, type TelemetryPoint, type TelemetryStore, WriteQueue } from '@faultline/telemetry'
import { SingleBar } from 'cli-progress'
import { InfluxDB } from 'influx'
import { type Benchmark, type Row, rowOf } from './benchmark.ts'
import { startInfluxd } from './influxd.ts'

const batch = 5_000
const batches = 3
const rounds = 3

interface Case {
  name: string
  /** Writes all batches to a place of its own and resolves when they are there, with the milliseconds it took. */
  write(place: string, points: TelemetryPoint[][]): Promise<number>
}

/** How fast inferences are written: the bare client of the `influx` package, both stores, and both behind the spool. */
export const telemetryBenchmark: Benchmark = {
  description: 'points/s into InfluxDB and SQLite, beside the bare influx client',
  async run() {
    const directory = await mkdtemp(join(tmpdir(), 'faultline-bench-'))
    const influxd = await startInfluxd(directory)
    try {
      const cases = casesOf(influxd.url, directory)
      const bar = new SingleBar({ stream: process.stderr, format: '{bar} {percentage}% {detail}', barsize: 24 })
      bar.start(cases.length * (rounds + 1), 0, { detail: '' })
      const measured = new Map<string, Figures[]>(cases.map(({ name }) => [name, []]))
      try {
        // The cases take turns, so that what else the machine does meets all of them. The first round warms up.
        for (let round = 0; round <= rounds; round++) {
          for (const { name, write } of cases) {
            const points = samplePoints()
            const before = process.cpuUsage()
            const ms = await write(`round_${round}`, points)
            const { user, system } = process.cpuUsage(before)
            const count = batch * batches
            if (round > 0) measured.get(name)!.push({ rate: (1_000 * count) / ms, processor: (user + system) / count })
            bar.increment(1, { detail: name })
          }
        }
      } finally {
        bar.stop()
      }
      return {
        rows: cases.flatMap(({ name }) => rowsOf(name, measured.get(name)!, measured.get(cases[0]!.name)!)),
        notes: [
          `reference: writePoints of the influx package, uncompressed; all in batches of ${batch}`,
          `medians of ${rounds} rounds of ${batch * batches} inferences with 8 tags and 21 fields, the ratio that of the rounds'`,
          'processor: what this process takes, compression included; InfluxDB has a process of its own on the same machine',
        ],
      }
    } finally {
      await influxd.stop()
      await rm(directory, { recursive: true, force: true, maxRetries: 3 })
    }
  },
}

interface Figures {
  rate: number
  /** Microseconds for a point. */
  processor: number
}

/** The spool may not take half of the speed. */
const aims: Record<string, string> = { 'influx, through the spool': '>= 0.5', 'sqlite, through the spool': '>= 0.5' }

function rowsOf(name: string, own: readonly Figures[], reference: readonly Figures[]): Row[] {
  const row = (metric: string, of: (figures: Figures) => number, aim?: string): Row => {
    const figure = median(own.map(of))
    if (own === reference) return rowOf(name, metric, figure)
    const ratio = median(own.map((figures, round) => of(figures) / of(reference[round]!)))
    return { ...rowOf(name, metric, figure, median(reference.map(of)), aim), ratio }
  }
  return [row('points/s', ({ rate }) => rate, aims[name]), row('processor µs/point', ({ processor }) => processor)]
}

function casesOf(url: string, directory: string): Case[] {
  const influx = (place: string) => new InfluxStore({ url, database: place })
  const sqlite = (place: string) => new SqliteStore({ path: join(directory, `${place}.db`) })
  return [
    { name: 'influx client, bare', write: (place, points) => writeBare(url, `bare_${place}`, points) },
    { name: 'influx', write: (place, points) => writeTo(influx(`store_${place}`), points) },
    {
      name: 'influx, through the spool',
      write: (place, points) => spoolTo(influx(`spool_${place}`), join(directory, `influx_${place}`), points),
    },
    { name: 'sqlite', write: (place, points) => writeTo(sqlite(`store_${place}`), points) },
    {
      name: 'sqlite, through the spool',
      write: (place, points) => spoolTo(sqlite(`spool_${place}`), join(directory, `sqlite_${place}`), points),
    },
  ]
}

async function writeBare(url: string, database: string, points: TelemetryPoint[][]): Promise<number> {
  const { hostname: host, port } = new URL(url)
  const client = new InfluxDB({ host, port: Number(port), database })
  await client.createDatabase(database)
  const begin = performance.now()
  for (const some of points) {
    await client.writePoints(
      some.map(({ measurement, tags, fields, time, offset }) => ({
        measurement,
        tags: tags as Record<string, string>,
        fields,
        timestamp: `${time}${String(offset).padStart(6, '0')}`,
      })),
      { precision: 'n' },
    )
  }
  return performance.now() - begin
}

async function writeTo(store: TelemetryStore, points: TelemetryPoint[][]): Promise<number> {
  await store.start()
  const begin = performance.now()
  for (const some of points) await store.write(some)
  const ms = performance.now() - begin
  await store.stop()
  return ms
}

/** As the recorder does it: every point is in a file before the next one is taken. */
async function spoolTo(store: TelemetryStore, directory: string, points: TelemetryPoint[][]): Promise<number> {
  await store.start()
  const queue = new WriteQueue({ store, logger: silentLogger, spool: { directory } })
  await queue.start()
  const begin = performance.now()
  for (const point of points.flat()) queue.add(point)
  await queue.whenWritten()
  const ms = performance.now() - begin
  await queue.stop()
  await store.stop()
  return ms
}

/** Inferences of ten machines in the last minute, so that nothing counts as late. */
function samplePoints(): TelemetryPoint[][] {
  const random = new Random(11)
  const begin = Date.now() - 60_000
  const features = ['rms', 'peak', 'crestFactor', 'kurtosis', 'skewness', 'velocityRms']
  return Array.from({ length: batches }, (_, b) =>
    Array.from({ length: batch }, (_, i) => {
      const n = b * batch + i
      const named = (prefix: string, names: readonly string[]) =>
        Object.fromEntries(names.map(name => [`${prefix}_${name}`, random.uniform()]))
      const machine = `press-${n % 10}`
      return {
        measurement: 'inference',
        tags: {
          decidedBy: 'local',
          device: machine,
          label: random.uniform() < 0.9 ? 'normal' : 'ball',
          machine,
          outcome: 'accepted',
          point: 'motor-de',
          revision: 'no',
          site: 'plant-a',
        },
        fields: {
          id: `0193a7c4-7d1e-7c3a-9f00-${String(n).padStart(12, '0')}`,
          confidence: random.uniform(),
          reason: 'confident',
          latencyMs: 20 * random.uniform(),
          escalationBytes: 4_512,
          shaftHz: 29.5,
          localLabel: 'normal',
          localConfidence: random.uniform(),
          localModel: 'bearings-local@1.2.0',
          localDigest: 'sha256:0123456789abcdef',
          ...named('probability', ['normal', 'ball', 'inner-race']),
          ...named('number', ['score', 'threshold']),
          ...named('feature', features),
        },
        time: begin + Math.floor(n / 10),
        offset: n % 1_000_000,
      }
    }),
  )
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!
