import { markdown } from '@faultline/protocol'
import {
  catalogue,
  defaultRetention,
  type FieldEntry,
  influxSetUp,
  type MeasurementEntry,
  rolledUpValues,
} from '@faultline/telemetry'

const { block, code, page, table } = markdown

/** `telemetry.md`: every measurement with its tags, fields and units, and what is made of them later. */
export function telemetryPage(): string {
  const { rawDays, minuteDays, hourDays } = defaultRetention
  return page('Telemetry', "the recorder's catalogue of measurements", [
    'The recorder (`npm run recorder`, [configuration](configuration.md#recorder)) subscribes to what the fleet publishes and writes ' +
      'it into a store: an SQLite file or InfluxDB. Both hold the same points under the same names, keep them as long, roll ' +
      'them up alike and answer the same queries. How to choose one, and what happens when it is away: ' +
      '[the guide](../guides/telemetry.md). What the recorder counts: [metrics](metrics.md#recorder).',
    '## Points',
    'A point has a measurement, tags, fields and a time.',
    [
      '- **Tags** are what one filters and groups by. Each has few different values; ids are never tags. A tag without a ' +
        'value is left out.',
      '- **Fields** are everything else. Numbers are always stored as floating point, so that a field never changes its ' +
        'type. A field without a value is left out. No field has the name of a tag: InfluxDB 1 lets the two shadow each other, ' +
        'InfluxDB 3 refuses them.',
      '- **Time** is the time of the event in the message, not that of its arrival, in milliseconds. Below the millisecond ' +
        'InfluxDB shows up to 999,999 ns that mean nothing: they are computed from the id of the message, so that two ' +
        'windows of one point that end in the same millisecond stay two points.',
    ].join('\n'),
    'Measurement, tags and time identify a point. A message delivered twice, as QoS 1 allows, makes the same point twice and ' +
      'counts once. Verdicts and wills have no time of their own and are dated by their first delivery, which the recorder ' +
      'remembers on disk for the last 10,000 of them.',
    'Control characters, backslashes and lone surrogates in texts are stored as `_`, and texts end after 512 characters. Names ' +
      'that a device chooses (features, numbers, labels) are stored after a prefix, with anything but letters, digits, `_`, ' +
      '`.` and `-` replaced by `_`; at most 128 of them from one message. Messages dated before 1970 or after 2199 are refused. ' +
      'A device that is compromised can still invent labels, and each new label is a new series. InfluxDB limits this ' +
      '(`max-values-per-tag`); SQLite does not mind.',
    '## Measurements',
    'A `*` stands for the part of a name that the sender chooses. A dash means a plain number.',
    ...Object.entries(catalogue).flatMap(([name, entry]) => measurementSection(name, entry)),
    '## Retention and roll-ups',
    'Defaults of `store.retention`; InfluxDB has a retention policy of each name. A device’s points older than raw ones are kept ' +
      'are [set aside](../guides/telemetry.md#points-that-are-set-aside).',
    table(
      ['policy', 'kept', 'holds'],
      [
        ['`raw`', `${rawDays} days`, 'the points'],
        ['`minutes`', `${minuteDays} days`, rolledUpIn('minutes')],
        ['`hours`', `${hourDays} days`, rolledUpIn('hours')],
      ],
    ),
    `A roll-up has the tags of its points and, of every number, ${rolledUpValues.map(value => code(`${value}_…`)).join(', ')}: the ` +
      'mean of `latencyMs` over any stretch is the sum of `sum_latencyMs` by the sum of `count_latencyMs`, exactly. `audit` has ' +
      '`count_id` alone. Measurements that are not named here come seldom and are gone with the raw points. In InfluxDB 1 ' +
      'continuous queries make the roll-ups, every minute and every ten; points that come too late for them (a device, the ' +
      'recorder or the server was away) are rolled up by the recorder a few seconds after they were written. In SQLite the recorder ' +
      'makes all of them.',
    'What the recorder sets up in InfluxDB 1 at its first start, and an administrator runs for a recorder whose user may not. A ' +
      'configuration with other days changes the policies at the next start, and **what is then too old is deleted**.',
    block('sql', `${influxSetUp('faultline', defaultRetention).join(';\n')};\n`),
    '## Reading',
    '`TelemetryStore` (from `@faultline/telemetry`) answers these questions. Times are milliseconds since 1970; `since` is ' +
      'included, `until` is not. All errors are `STORE_FAILED`. All but `series` look at raw points.',
    table(
      ['method', 'gives'],
      [
        [
          '`inferences({ site?, device?, point?, machine?, since?, until?, limit = 100 })`',
          'inferences and revisions, newest first; `limit` at most 10,000',
        ],
        ['`history({ …, since, until })`', 'the same, oldest first, in pages'],
        [
          "`counts({ …, groupBy: ['machine', 'outcome'] })`",
          'windows counted by tags, revisions left out; by any of `site`, `device`, `point`, `machine`, `label`, `decidedBy`, `outcome`',
        ],
        [
          '`alarms({ site?, machine?, fault?, since?, until?, limit = 100 })`',
          'what was said of alarms, newest first, counts that grew included; `limit` at most 10,000',
        ],
        [
          '`updates({ site?, device?, since?, until?, limit = 100 })`',
          'what devices said of their updates, newest first: rollout, digest, state, error; `limit` at most 10,000',
        ],
        [
          '`audits({ …, since?, until? })`',
          'per site, machine and local model: `audits`, `silent`, `missed`, `wrong` and `missedAtMost`, as in [what they prove](policies.md#what-they-prove)',
        ],
        [
          '`series({ measurement, field, …, since, until = now, every, tier? })`',
          '`{ time, mean, min, max }` per bucket of `every` ms, oldest first; empty buckets are left out, at most 10,000 fit. Read from ' +
            'the points as long as they reach back to `since`, then from the finest roll-up that does and whose buckets make up ' +
            '`every`; `tier` (`raw`, `minutes`, `hours`) overrules that',
        ],
      ],
    ),
    'In InfluxDB directly:',
    block(
      'sh',
      `influx -database faultline -execute "SELECT count(latencyMs) FROM inference WHERE revision = 'no' GROUP BY machine, outcome"
influx -database faultline -execute "SELECT sum(sum_feature_rms) / sum(count_feature_rms) FROM hours.inference WHERE time > now() - 90d GROUP BY time(1d), machine"
influx -database faultline -execute "SELECT count(id) FROM audit WHERE time > now() - 30d GROUP BY machine, audited, finding"
`,
    ),
  ])
}

function measurementSection(name: string, { about, time, tags, fields, rolledUp, note }: MeasurementEntry): string[] {
  const kept =
    rolledUp.length === 0 ? 'Not rolled up.' : `Rolled up by ${rolledUp.map(tier => tier.slice(0, -1)).join(' and ')}.`
  return [
    `### \`${name}\``,
    `${about} Time: ${time}. ${kept}`,
    table(
      ['tag', 'values'],
      Object.entries(tags).map(([tag, values]) => [code(tag), values]),
    ),
    table(['field', 'type', 'unit', 'meaning'], fields.map(fieldRow)),
    ...(note ? [note] : []),
  ]
}

const fieldRow = ({ name, type, unit, meaning }: FieldEntry): string[] => [
  code(name),
  type,
  type === 'number' ? unit.replace(/^-$/, '–') : '',
  meaning,
]

const rolledUpIn = (tier: 'minutes' | 'hours'): string =>
  Object.entries(catalogue)
    .filter(([, { rolledUp }]) => rolledUp.includes(tier))
    .map(([name]) => code(name))
    .join(', ')
