import {
  AuditedPolicy,
  classificationOf,
  createPolicy,
  type Decision,
  EpisodicPolicy,
  type LocalResult,
  type Policy,
  type PolicyState,
  policyNames,
  Random,
} from '@faultline/inference'

/** What the tests of policies share: answers, and windows whose verdicts come when they like. */
export const classes = ['normal', 'ball', 'inner-race']
export const answer = (...probabilities: number[]): LocalResult => ({
  ...classificationOf(classes, probabilities),
  classes,
})
/** An answer of two classes, with "fault" at this probability. */
export const binary = (fault: number): LocalResult => {
  const both = ['normal', 'fault']
  return { ...classificationOf(both, [1 - fault, fault]), classes: both }
}

export const model = { digest: `sha256:${'a'.repeat(64)}`, normal: 'normal', threshold: 0.8 }

export const make = (name: string, parameters: Record<string, unknown> = {}, seed = 5): Policy =>
  createPolicy({ name, parameters }, model, seed)

/** Every policy there is, alone, with episodes and with audits. */
export const makers: [string, (seed?: number) => Policy][] = policyNames.flatMap(name => [
  [name, (seed = 5) => make(name, {}, seed)] as [string, (seed?: number) => Policy],
  [`${name} with episodes`, (seed = 5) => new EpisodicPolicy(make(name, {}, seed), { agreeing: 2, holdS: 60 })] as [
    string,
    (seed?: number) => Policy,
  ],
  [`${name} with audits`, (seed = 5) => new AuditedPolicy(make(name, {}, seed), { rate: 0.3, seed })],
])

export interface Sample {
  local: LocalResult
  truth: LocalResult
}

/** Windows of a model that is right as often as it says, most of them sure. */
export function samples(count: number, seed = 1): Sample[] {
  const random = new Random(seed)
  return Array.from({ length: count }, () => {
    const winner = Math.floor(random.uniform() * classes.length)
    const other = 0.3 * random.uniform() ** 3
    const probabilities = classes.map((_, i) => (i === winner ? 1 - 2 * other : other))
    const real = random.uniform() < probabilities[winner]! ? winner : (winner + 1) % classes.length
    return { local: answer(...probabilities), truth: answer(...classes.map((_, i) => Number(i === real))) }
  })
}

export interface ReplayOptions {
  price?: number
  /** Windows from a decision to its verdict. */
  delay?: number
  /** Whether a verdict arrives at all. */
  arrives?: (index: number) => boolean
}

/** A device's view of a stream: decides on windows, and hears of those it escalated, later or never. */
export class Replay {
  policy: Policy
  readonly decisions: Decision[] = []
  private readonly options: Required<ReplayOptions>
  private readonly waiting: { sample: Sample; decision: Decision; due: number }[] = []

  constructor(policy: Policy, { price = 0.2, delay = 0, arrives = () => true }: ReplayOptions = {}) {
    this.policy = policy
    this.options = { price, delay, arrives }
  }

  run(stream: readonly Sample[]): this {
    for (const sample of stream) this.next(sample)
    return this
  }

  /** What is under way goes to another policy from now on. */
  handOver(policy: Policy): Replay {
    const other = new Replay(policy, this.options)
    other.decisions.push(...this.decisions)
    other.waiting.push(...this.waiting)
    return other
  }

  next(sample: Sample): Decision {
    const { price, delay, arrives } = this.options
    const decision = this.policy.decide(sample.local, { price })
    const index = this.decisions.push(decision) - 1
    if (decision.action === 'escalate' && arrives(index)) this.waiting.push({ sample, decision, due: index + delay })
    while (this.waiting[0] && this.waiting[0].due <= index) {
      const { sample, decision } = this.waiting.shift()!
      this.policy.learn({ local: sample.local, remote: sample.truth, price, token: decision.token })
    }
    return decision
  }
}

export const throughJson = (state: PolicyState): PolicyState => JSON.parse(JSON.stringify(state)) as PolicyState

/** What a policy learned from verdicts: its weights or counters, without lots, rounds and confidences seen. */
export function learned(policy: Policy): unknown {
  const { data } = policy.snapshot() as { data: { inner?: { data: unknown }; memory?: unknown } | null }
  const own = (data?.inner ? data.inner.data : data) as { memory?: Record<string, unknown> } | null
  const { logs, lower, upper, asked, right, verdicts, belief, change } = own?.memory ?? {}
  const { seen, edges, ...counters } = (own?.memory?.counters ?? {}) as Record<string, unknown>
  return { logs, lower, upper, asked, right, verdicts, belief, change, counters }
}

/** Numbers in a state: what has to stay bounded. */
export function countNumbers(value: unknown): number {
  if (typeof value === 'number') return 1
  if (value === null || typeof value !== 'object') return 0
  return Object.values(value).reduce<number>((sum, part) => sum + countNumbers(part), 0)
}
