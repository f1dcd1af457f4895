import {
  classificationOf,
  createPolicy,
  type LocalResult,
  type Policy,
  policyNames,
  Random,
} from '@faultline/inference'
import { type Benchmark, type Row, rowOf } from './benchmark.ts'
import { medianProcessorMs } from './measure.ts'

const windows = 4_096
const classes = ['normal', 'ball', 'inner-race', 'outer-race']
const price = 0.2
const model = { digest: `sha256:${'0'.repeat(64)}`, normal: 'normal', threshold: 0.8 }
const duration = { measureMs: 300, warmUpMs: 200 }

/** Policies that choose among bins or thresholds are measured at 64. */
const parameters: Record<string, Record<string, unknown>> = {
  'hil-f': { bits: 6 },
  'hil-n': { bits: 6 },
  'hi-lcb': { bins: 64 },
  'hi-lcb-lite': { bins: 64 },
  h2t2: { bins: 64 },
}

/** At most so many nanoseconds per window. */
const aims: Record<string, number> = { 'hi-lcb-lite': 1_000, 'hil-f': 10_000, h2t2: 10_000 }

interface Lesson {
  local: LocalResult
  remote: LocalResult
}

/** The cost of the loop and of calling a policy at all. */
const idle: Policy = {
  name: 'no-op',
  decide: () => ({ action: 'accept', reason: 'idle', numbers: {} }),
  learn() {},
  snapshot: () => ({ policy: 'no-op', version: 1, data: null }),
  restore() {},
}

/** What a policy takes of a window's time, and of memory, beside one that does nothing. */
export const policiesBenchmark: Benchmark = {
  description: 'deciding and learning with each policy beside a no-op, and the size of its state',
  async run() {
    const lessons = sampleLessons()
    const policies = policyNames.map(name => createPolicy({ name, parameters: parameters[name] ?? {} }, model, 1))
    // Once through all of them, or the compiler takes the first one measured for the only one and inlines it.
    pass([...policies, idle], lessons)
    const reference = nanoseconds(idle, lessons)
    const rows: Row[] = []
    for (const policy of policies) {
      const { name } = policy
      const aim = aims[name]
      const ns = nanoseconds(policy, lessons)
      rows.push(rowOf(name, 'ns per window', ns, reference, aim ? `<= ${aim} ns` : undefined))
      rows.push(rowOf(name, 'bytes of state', Buffer.byteLength(JSON.stringify(policy.snapshot()))))
    }
    return {
      rows,
      notes: [
        'reference: a policy that does nothing; every window is decided on and its verdict learned from',
        'time on the processor, so that a busy machine does not count',
        'at 64 bins or thresholds; the state is a snapshot as JSON',
      ],
    }
  },
}

const nanoseconds = (policy: Policy, lessons: readonly Lesson[]): number =>
  (medianProcessorMs(() => pass([policy], lessons), duration) * 1e6) / lessons.length

/** The policies take turns: one that the compiler could know beforehand would be inlined, and the no-op vanish. */
function pass(policies: readonly Policy[], lessons: readonly Lesson[]): void {
  for (const [i, { local, remote }] of lessons.entries()) {
    const policy = policies[i % policies.length]!
    const { token } = policy.decide(local, { price })
    policy.learn({ local, remote, price, token })
  }
}

/** Answers of a model that is right as often as it says, most of them sure. */
function sampleLessons(): Lesson[] {
  const random = new Random(7)
  return Array.from({ length: windows }, () => {
    const winner = Math.floor(random.uniform() * classes.length)
    const rest = (0.7 * random.uniform() ** 4) / (classes.length - 1)
    const probabilities = classes.map((_, i) => (i === winner ? 1 - rest * (classes.length - 1) : rest))
    const truth = random.uniform() < probabilities[winner]! ? winner : (winner + 1) % classes.length
    return {
      local: resultOf(probabilities),
      remote: resultOf(classes.map((_, i) => Number(i === truth))),
    }
  })
}

const resultOf = (probabilities: number[]): LocalResult => ({ ...classificationOf(classes, probabilities), classes })
