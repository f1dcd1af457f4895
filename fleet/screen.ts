import { createLogUpdate } from 'log-update'
import type { FleetStatus, MachineStatus } from './status.ts'

/** Shows the fleet as it runs: a table that redraws itself on a terminal, a line every few seconds elsewhere. */
export class Screen {
  private readonly output: NodeJS.WriteStream
  private readonly read: () => FleetStatus
  private timer: NodeJS.Timeout | undefined
  private draw: ((text: string) => void) & { done?: () => void }

  constructor(output: NodeJS.WriteStream, read: () => FleetStatus) {
    this.output = output
    this.read = read
    this.draw = text => output.write(`${text}\n`)
  }

  start(): void {
    if (this.output.isTTY) {
      const update = createLogUpdate(this.output)
      this.draw = Object.assign((text: string) => update(text), { done: () => update.done() })
      this.timer = setInterval(() => this.draw(`\n${renderTable(this.read())}`), 500)
    } else {
      this.timer = setInterval(() => this.draw(renderLine(this.read())), 5_000)
    }
  }

  /** Leaves the last picture standing. */
  stop(): void {
    clearInterval(this.timer)
    this.draw(this.output.isTTY ? `\n${renderTable(this.read())}` : renderLine(this.read()))
    this.draw.done?.()
  }
}

const columns: { title: string; width: number; value: (machine: MachineStatus) => string; left?: boolean }[] = [
  { title: 'machine', width: 10, left: true, value: machine => machine.machine },
  { title: 'windows', width: 8, value: machine => String(machine.windows) },
  { title: 'accepted', width: 9, value: machine => String(machine.accepted) },
  { title: 'escalated', width: 10, value: machine => String(machine.escalated) },
  { title: 'verdicts', width: 9, value: machine => String(machine.verdicts) },
  {
    title: 'round trip',
    width: 11,
    value: machine => (machine.roundTripMs === undefined ? '–' : `${machine.roundTripMs.toFixed(1)} ms`),
  },
  { title: 'bytes saved', width: 12, value: machine => formatBytes(machine.bytesSaved) },
  { title: 'says', width: 13, left: true, value: machine => machine.label ?? '–' },
  { title: 'alarm', width: 22, left: true, value: machine => machine.alarms.join(', ') || '–' },
]

export function renderTable(status: FleetStatus): string {
  const cells = (values: string[]): string =>
    values
      .map((value, i) =>
        columns[i]!.left ? `  ${value.padEnd(columns[i]!.width)}` : value.padStart(columns[i]!.width),
      )
      .join(' ')
      .trimEnd()
  const rows = status.machines.map(machine => cells(columns.map(column => column.value(machine))))
  return [cells(columns.map(column => column.title)), ...rows, '', renderLine(status)].join('\n')
}

export function renderLine(status: FleetStatus): string {
  const { counters } = status
  const escalated = counters.windows - counters.accepted
  return [
    `${status.elapsedS.toFixed(0)} s`,
    `${counters.windows} windows`,
    `${counters.accepted} accepted`,
    `${escalated} escalated (${percent(escalated, counters.windows)})`,
    `${counters.answered} verdicts in time`,
    `${formatBytes(status.bytesSaved)} saved (${percent(status.bytesSaved, status.bytesIfAllEscalated)})`,
    `${status.alarms} alarm${status.alarms === 1 ? '' : 's'}`,
  ].join(' · ')
}

export const percent = (part: number, whole: number): string =>
  whole > 0 ? `${((100 * part) / whole).toFixed(0)} %` : '–'

export function formatBytes(bytes: number): string {
  if (Math.abs(bytes) < 1_000) return `${Math.round(bytes)} B`
  if (Math.abs(bytes) < 1_000_000) return `${(bytes / 1_000).toFixed(1)} kB`
  return `${(bytes / 1_000_000).toFixed(2)} MB`
}
