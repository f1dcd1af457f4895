import { classificationOf, createPolicy, type EpisodeOptions, EpisodicPolicy, type Policy } from '@faultline/inference'
import { bearingSignal } from '../training/bearing-models.ts'
import { AlarmVotes } from './alarm-votes.ts'
import { classes, type FoldAnswers } from './answers.ts'
import { NORMAL } from './decisions.ts'
import { groupBy } from './group-by.ts'
import { poissonUpperBound } from './intervals.ts'

/** As they are set by hand, before anything was measured: three in a row, once a minute. */
export const streamEpisodes: EpisodeOptions = { agreeing: 3, holdS: 60 }

export const streamMethods = [
  'local',
  'server',
  'default',
  'default, episodes',
  'relevance',
  'relevance, episodes',
] as const
export type StreamMethod = (typeof streamMethods)[number]

const policies: Record<StreamMethod, { name: string; episodes: boolean }> = {
  local: { name: 'never', episodes: false },
  server: { name: 'always', episodes: false },
  default: { name: 'default', episodes: false },
  'default, episodes': { name: 'default', episodes: true },
  relevance: { name: 'relevance', episodes: false },
  'relevance, episodes': { name: 'relevance', episodes: true },
}

/** Seconds from the onset of the fault, over the streams in which it was noticed. */
export interface Delay {
  median: number | null
  worst: number | null
  /** Streams in which it was not noticed before they ended. */
  never: number
}

/** What one method makes of the streams of one split. */
export interface StreamRow {
  split: string
  models: 'shipped' | 'retrained'
  method: StreamMethod
  /** Each is a stretch of normal and then a run of one fault, to its end. */
  streams: number
  windows: number
  /** Share of windows whose class was named. */
  accuracy: number
  /** Share of windows for which a server was asked. */
  escalated: number
  /** To the first window that is not answered as normal. */
  firstWindow: Delay
  /** To an alarm: 4 of 6 windows. Streams whose alarm was on before the onset are left out. */
  alarm: Delay
  /** Alarms in the normal stretches, each stretch once, under the model that raises most. */
  nuisance: { alarms: number; seconds: number; perDay: number; perDayAtMost: number; onAtOnset: number }
}

const WINDOW_SECONDS = bearingSignal.samples / bearingSignal.rateHz
const DAY_SECONDS = 86_400

/** Every method on the streams of one split. Nothing where no fold tests both normal and faulty runs. */
export function streamRowsOf(folds: readonly FoldAnswers[]): StreamRow[] {
  const streams = folds.flatMap(streamsOf)
  return streams.length === 0 ? [] : streamMethods.map(method => rowOf(streams, method))
}

interface Stream {
  fold: FoldAnswers
  /** Rows of the fold, the normal stretch first. */
  rows: number[]
  /** Where the fault begins: windows of normal before it. */
  onset: number
  /** Names the normal stretch, which several streams may share. */
  stretch: string
}

/** One stream for each faulty run of the fold: a machine that was normal, and then is not. */
function streamsOf(fold: FoldAnswers): Stream[] {
  const rows = [...fold.labels.keys()]
  const normal = rows.filter(row => fold.labels[row] === NORMAL)
  if (normal.length === 0) return []
  const faulty = groupBy(
    rows.filter(row => fold.labels[row] !== NORMAL),
    row => fold.runs[row]!,
  )
  const stretch = [...new Set(normal.map(row => fold.runs[row]))].join()
  return [...faulty.values()].map(run => ({ fold, rows: [...normal, ...run], onset: normal.length, stretch }))
}

interface Played {
  stream: Stream
  right: boolean[]
  escalated: boolean[]
  /** Windows after the onset, or undefined for never. */
  firstWindow: number | undefined
  alarm: number | undefined
  nuisance: number
  onAtOnset: boolean
}

function rowOf(streams: readonly Stream[], method: StreamMethod): StreamRow {
  const played = streams.map(stream => play(stream, method))
  // The normal stretch of a fold goes before each of its runs, and is the same each time: it counts once.
  const counted = played.flatMap(({ stream, right, escalated }, i) => {
    const from = i > 0 && streams[i - 1]!.fold === stream.fold ? stream.onset : 0
    return right.slice(from).map((isRight, k) => ({ right: isRight, escalated: escalated[from + k]! }))
  })
  const share = (kind: 'right' | 'escalated') => counted.filter(window => window[kind]).length / counted.length
  const [first] = streams as [Stream]
  return {
    split: first.fold.split,
    models: first.fold.models,
    method,
    streams: streams.length,
    windows: counted.length,
    accuracy: share('right'),
    escalated: share('escalated'),
    firstWindow: delayOf(played.map(({ firstWindow }) => firstWindow)),
    alarm: delayOf(played.filter(({ onAtOnset }) => !onAtOnset).map(({ alarm }) => alarm)),
    nuisance: nuisanceOf(played),
  }
}

function play({ fold, rows, onset, stretch }: Stream, method: StreamMethod): Played {
  const policy = policyOf(fold, method)
  const alarms = new AlarmVotes()
  const played: Played = {
    stream: { fold, rows, onset, stretch },
    right: [],
    escalated: [],
    firstWindow: undefined,
    alarm: undefined,
    nuisance: 0,
    onAtOnset: false,
  }
  for (const [i, row] of rows.entries()) {
    const { label, escalated } = answer(policy, fold, row, i)
    const faulty = label !== classes[NORMAL]
    const raised = alarms.observe(faulty)
    played.right.push(label === classes[fold.labels[row]!])
    played.escalated.push(escalated)
    if (i < onset) {
      if (raised) played.nuisance++
      played.onAtOnset = alarms.active
      continue
    }
    if (faulty) played.firstWindow ??= i - onset + 1
    if (alarms.active) played.alarm ??= i - onset + 1
  }
  return played
}

/** The final answer to one window; a verdict is there before the next window. */
function answer(policy: Policy, fold: FoldAnswers, row: number, index: number): { label: string; escalated: boolean } {
  const read = (probabilities: Float32Array) =>
    classificationOf(classes, [...probabilities.subarray(row * classes.length, (row + 1) * classes.length)])
  const local = { ...read(fold.local), classes }
  const at = 1_000 * WINDOW_SECONDS * index
  const { price } = fold
  const { action, token, answer } = policy.decide(local, { price, at })
  if (action === 'accept') return { label: (answer ?? local).label, escalated: false }
  const remote = read(fold.server)
  policy.learn({ local, remote, price, token })
  return { label: remote.label, escalated: true }
}

function policyOf(fold: FoldAnswers, method: StreamMethod): Policy {
  const { name, episodes } = policies[method]
  const parameters = name === 'relevance' ? { confidence: fold.confidence } : {}
  const policy = createPolicy({ name, parameters }, { normal: classes[NORMAL], ...fold.known })
  return new EpisodicPolicy(policy, episodes ? streamEpisodes : 'off')
}

function delayOf(windows: readonly (number | undefined)[]): Delay {
  const noticed = windows.filter(count => count !== undefined).sort((a, b) => a - b)
  const seconds = (count: number | undefined) => (count === undefined ? null : count * WINDOW_SECONDS)
  return {
    median: seconds(noticed[Math.floor((noticed.length - 1) / 2)]),
    worst: seconds(noticed.at(-1)),
    never: windows.length - noticed.length,
  }
}

function nuisanceOf(played: readonly Played[]): StreamRow['nuisance'] {
  const stretches = [...groupBy(played, ({ stream }) => stream.stretch).values()]
  const alarms = stretches.reduce((sum, each) => sum + Math.max(...each.map(({ nuisance }) => nuisance)), 0)
  const seconds = stretches.reduce((sum, [first]) => sum + first!.stream.onset * WINDOW_SECONDS, 0)
  return {
    alarms,
    seconds,
    perDay: (alarms / seconds) * DAY_SECONDS,
    perDayAtMost: (poissonUpperBound(alarms) / seconds) * DAY_SECONDS,
    onAtOnset: played.filter(({ onAtOnset }) => onAtOnset).length,
  }
}
