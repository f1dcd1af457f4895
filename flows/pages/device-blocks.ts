import type { OpenDevice } from '../dashboard/devices-view.ts'
import { duration, energy, milliseconds, moment, number, percent, size, words } from './format.ts'

/** What is said, what of it, and a class where it is not as it should be. */
type Pair = [name: string, value: string, tone?: string]

/** A part of what a page tells of a device. */
export interface DeviceBlock {
  title: string
  pairs: Pair[]
  /** What stands in place of no pairs. */
  empty: string
}

/** All that a page tells of a device that is open. */
export function deviceBlocks(open: OpenDevice, now: number): DeviceBlock[] {
  const { row, boot, health, points, sensors, enginesRejected, update } = open
  const counters = Object.entries(health?.counters ?? {}).map(([name, value]): Pair => [name, number(value)])
  const faulty = new Map(sensors.map(sensor => [sensor.point, sensor]))
  return [
    {
      title: 'Health',
      empty: 'It has not said how it is yet.',
      pairs: health
        ? [
            ['running for', duration(health.uptimeS)],
            ['start number', said(boot, value => number(value))],
            [
              'clock',
              row.clockSynchronised ? 'synchronised' : 'not synchronised',
              row.clockSynchronised ? '' : 'fl-held',
            ],
            ['memory', size(health.memoryBytes)],
            ['temperature', said(health.temperatureC, value => `${value} °C`)],
            ['errors', number(health.errors), health.errors > 0 ? 'fl-held' : ''],
            ['windows passed over', said(health.overruns, value => number(value))],
            ['energy, estimate', energy(health.energyJ)],
          ]
        : [],
    },
    {
      title: 'Link',
      empty: 'It has not said how its link is yet.',
      pairs: health
        ? [
            ['over', health.price?.link ?? '–'],
            ['sent', `${size(health.bytes.sent)}, of it windows ${size(health.bytes.escalations)}`],
            ['received', size(health.bytes.received)],
            [
              'round trip',
              health.roundTripMs
                ? `${milliseconds(health.roundTripMs.median)}, 95 % within ${milliseconds(health.roundTripMs.p95)}`
                : '–',
            ],
            ['without a verdict in time', percent(row.lostShare)],
            ['messages waiting', number(health.queues.spool)],
            ['windows waiting for a verdict', number(health.queues.pending)],
            [
              'messages given up',
              said(health.queues.dropped, value => number(value)),
              (health.queues.dropped ?? 0) > 0 ? 'fl-held' : '',
            ],
            ['budget of 24 h', health.budget ? `${size(health.budget.total.left)} left` : 'none'],
            ['battery', said(health.price?.battery, value => percent(value))],
          ]
        : [],
    },
    { title: 'Windows since its start', empty: 'None.', pairs: counters },
    {
      title: 'Measurement points',
      empty: 'It names none.',
      pairs: points.map(({ point, machine, rateHz, commissioning }) => {
        const sensor = faulty.get(point)
        const learning = commissioning?.phase === 'learning' ? ', learning what is normal' : ''
        return [
          point,
          sensor
            ? `${machine}: sensor ${sensor.fault} since ${moment(sensor.since, now)}`
            : `${machine}, ${number(rateHz)} Hz${learning}`,
          sensor ? 'fl-bad' : '',
        ]
      }),
    },
    {
      title: 'Software',
      empty: '',
      pairs: [
        ['agent', row.agentVersion ?? '–'],
        ...row.models.map((model): Pair => ['model', model]),
        ...enginesRejected.map(({ engine, reason }): Pair => [`passed over: ${engine}`, reason]),
        [
          'certificate',
          row.certificateUntil ? `until ${moment(row.certificateUntil, now)}` : 'none: it logs in with a secret',
        ],
        ...(update ? [pair('last update', `${words(update.state).toLowerCase()} at ${moment(update.at, now)}`)] : []),
        ...(update?.probation
          ? [
              pair(
                'on probation',
                `${number(update.probation.windows)} windows, ${update.probation.wrong} of ${update.probation.audits} audits wrong`,
              ),
            ]
          : []),
        ...(update?.error ? [pair('because', update.error.message, 'fl-held')] : []),
      ],
    },
  ]
}

const pair = (...parts: Pair): Pair => parts

const said = <Value>(value: Value | null | undefined, text: (value: Value) => string): string =>
  value === undefined || value === null ? '–' : text(value)
