/** What became of the messages of one kind. */
export interface KindReport {
  kind: string
  acknowledged: number
  /** Numbers that were acknowledged and not delivered. */
  lost: number[]
  /** Numbers that were delivered more than once, where exactly once is promised; undefined elsewhere. */
  twice: number[] | undefined
  /** Messages whose exchange between publisher and broker did not end. */
  unanswered: number
}

export interface SoakReport {
  seed: number
  kills: number
  /** How many of these happened with a full disk. */
  killsWithFullDisk: number
  /** Of these, of the Redis rather than a broker. */
  killsOfRedis: number
  seconds: number
  kinds: KindReport[]
}

/** What is wrong, a sentence each; none when the broker kept its promises and there was something to keep. */
export function faultsOf({ kills, kinds }: SoakReport): string[] {
  const faults = kills === 0 ? ['the broker was never killed'] : []
  for (const { kind, acknowledged, lost, twice = [], unanswered } of kinds) {
    if (acknowledged === 0) faults.push(`${kind}: nothing was acknowledged`)
    if (lost.length > 0) faults.push(`${kind}: ${lost.length} acknowledged messages were lost, ${some(lost)}`)
    if (twice.length > 0) faults.push(`${kind}: ${twice.length} messages were delivered twice, ${some(twice)}`)
    if (unanswered > 0) faults.push(`${kind}: ${unanswered} messages were not answered`)
  }
  return faults
}

const some = (numbers: readonly number[]): string =>
  `${numbers.slice(0, 5).join(', ')}${numbers.length > 5 ? ', …' : ''} among them`

/** A table, and what is wrong below it. */
export function textOf(report: SoakReport): string {
  const { seed, kills, killsWithFullDisk, killsOfRedis, seconds, kinds } = report
  const rows = [
    ['messages', 'acknowledged', 'lost', 'twice'],
    ...kinds.map(({ kind, acknowledged, lost, twice }) => [
      kind,
      String(acknowledged),
      String(lost.length),
      twice ? String(twice.length) : 'allowed',
    ]),
  ]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)))
  const lines = rows.map(row =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '),
  )
  const faults = faultsOf(report).map(fault => `FAULT ${fault}`)
  const of = `${killsWithFullDisk} of them with a full disk, ${killsOfRedis} of the Redis`
  const head = `${kills} kills, ${of}, in ${Math.round(seconds)} s; seed ${seed}`
  return `${[head, '', ...lines, ...(faults.length > 0 ? ['', ...faults] : [])].join('\n')}\n`
}
