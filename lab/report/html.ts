import type { Evaluation } from '../evaluation/evaluation.ts'
import { splitNames } from '../evaluation/folds.ts'
import { groupBy } from '../evaluation/group-by.ts'
import { ALL_FOLDS, type Row } from '../evaluation/rows.ts'
import { shippedSplits } from '../evaluation/shipped.ts'
import {
  classColours,
  colours,
  commissioningChart,
  costChart,
  envelopeChart,
  escalationChart,
  FEWEST_IN_BIN,
  noiseChart,
  overviewChart,
  reliabilityChart,
  spectrumChart,
} from './charts.ts'
import { alarms, methodNames, percent, whole, withInterval } from './figures.ts'
import { figure, legend, matrix, page, section } from './page.ts'
import { escaped } from './plot.ts'
import { streamTable } from './streams.ts'
import { htmlTable } from './table.ts'

/** The whole evaluation as one page that asks for nothing from outside. */
export function htmlReport(evaluation: Evaluation): string {
  const sections = [
    aims(evaluation),
    overview(evaluation),
    commissioning(evaluation),
    escalation(evaluation),
    noise(evaluation),
    streams(evaluation),
    confusion(evaluation),
    reliability(evaluation),
    spectra(evaluation),
    everyFigure(evaluation),
    method(evaluation),
  ]
  return page('Faultline: bearing evaluation', header(evaluation), ...sections)
}

function header({ at, seconds, engines, backend, notes }: Evaluation): string {
  const trained = backend ? `, retrained on ${escaped(backend)}` : ''
  return [
    '<header><p class="brand">Faultline</p><h1>Bearing models: how good are they?</h1>',
    `<p class="lead">Every figure comes from recordings that the models measured did not learn from. Run on ${at.slice(0, 10)} in ${whole(seconds)} s; local model on ${engines.local}, server model on ${engines.server}${trained}.</p>`,
    ...notes.map(note => `<p class="lead">${escaped(note)}</p>`),
    '</header>',
  ].join('')
}

const pairLegend = legend([
  ['local model', colours.local],
  ['server model', colours.server],
  ['both: hierarchical inference', colours.hierarchical],
])

function aims({ aims }: Evaluation): string {
  if (aims.length === 0) return ''
  const rows = aims.map(
    ({ aim, measured, met, missedBy }) =>
      `<tr><td>${escaped(aim)}</td><td>${escaped(measured)}</td><td><span class="${met ? 'met' : 'missed'}">${met ? 'met' : `missed by ${escaped(missedBy)}`}</span></td></tr>`,
  )
  return section(
    'Aims',
    'What was aimed at before measuring, and what came out.',
    `<table><thead><tr><th>aim</th><th>measured</th><th></th></tr></thead><tbody>${rows.join('')}</tbody></table>`,
  )
}

/** One row a split and method: all folds together where there are several. */
function summaryRows(rows: readonly Row[]): Row[] {
  return [...groupBy(rows, row => row.split).values()].flatMap(group => {
    if (group[0]!.split === shippedSplits.noise) return []
    const together = group.filter(row => row.fold === ALL_FOLDS)
    return together.length > 0 ? together : group
  })
}

function overview({ rows }: Evaluation): string {
  return section(
    'Accuracy on every split',
    'A split decides what the models have not seen: a load, a defect size, a speed, or the whole rig. The further down, the further from what they learned.',
    pairLegend,
    figure(
      'Share of windows whose class was named rightly; normal, ball, inner race, outer race.',
      overviewChart(summaryRows(rows)),
      'wide',
    ),
  )
}

function commissioning({ commissioning }: Evaluation): string {
  if (commissioning.length === 0) return ''
  const charts = commissioning.map(result => {
    const { speed, state, rest, supportedPerHour } = result
    const caption = `${speed}: ${state.windows} windows learned, worth ${state.effectiveWindows} independent ones. Rest of the normal run: ${rest.windows} false alarms in ${rest.seconds.toFixed(0)} s, which rules out more than ${whole(rest.perHourAtMost)} an hour; the learned windows alone rule out more than ${whole(supportedPerHour)}.`
    return figure(caption, commissioningChart(result), 'wide')
  })
  return section(
    'Commissioning: a point that learns its own machine',
    'No trained model. Each point watched 20 s of its normal machine, set its own limit, and then met the rest of the normal run and each fault. The scale is logarithmic.',
    legend(Object.entries(classColours)),
    ...charts,
  )
}

function escalation({ curves }: Evaluation): string {
  const pairs = curves.map(curve => {
    const [low, high] = curve.paysBetween ?? [0, 0]
    const pays = curve.paysBetween
      ? `cheaper than never and always from b = ${low} to ${high}`
      : 'never cheaper than both never and always'
    return `<h3>${escaped(curve.split)}</h3><div class="pair">${[
      figure(
        `Large dot: the calibrated policy at its price, ${percent(curve.calibrated.y)} at ${percent(curve.calibrated.x)} escalated. Dashed: windows escalated at random.`,
        escalationChart(curve),
      ),
      figure(
        `The calibrated policy, fixed at its price: ${pays}. Dashed: the best threshold in hindsight.`,
        costChart(curve),
      ),
    ].join('')}</div>`
  })
  return section(
    'What escalation buys, and what it costs',
    'Left: accuracy as more windows go to the server. Right: wrong answers plus b for each escalation, per window.',
    legend([
      ['local model / never escalate', colours.local],
      ['server model / always escalate', colours.server],
      ['both: hierarchical inference', colours.hierarchical],
    ]),
    ...pairs,
  )
}

function noise({ rows }: Evaluation): string {
  const noisy = rows.filter(row => row.split === shippedSplits.noise)
  if (noisy.length === 0) return ''
  return section(
    'Noise',
    'The shipped pair, white noise added to each test window at a level relative to the window. Training adds noise 0 to 30 dB below the signal to half the windows.',
    pairLegend,
    `<div class="pair">${[
      figure(
        'Share of windows whose class was named rightly.',
        noiseChart(noisy, 'accuracy', row => row.accuracy?.value ?? null),
      ),
      figure(
        `Share of faulty windows read as normal. ${rmsInNoise(noisy)}`,
        noiseChart(noisy, 'missed faults', row => row.missedFaultRate),
      ),
    ].join('')}</div>`,
  )
}

/** What the loudest noise does to the rule that only looks at the level. */
function rmsInNoise(noisy: readonly Row[]): string {
  const rms = noisy.find(row => row.method === 'rms')
  if (!rms?.falseAlarms) return ''
  const { windows, of } = rms.falseAlarms
  return `The RMS rule at ${rms.fold} misses ${percent(rms.missedFaultRate)} and calls ${windows} of ${of} normal windows faulty.`
}

function streams(evaluation: Evaluation): string {
  if (evaluation.streams.length === 0) return ''
  const table = streamTable(evaluation)
  return section(table.title, table.note ?? '', htmlTable(table))
}

function confusion({ rows, classes }: Evaluation): string {
  const wanted = [splitNames.load, shippedSplits.own, splitNames.diameter]
  const [split] = wanted.filter(name => rows.some(row => row.split === name))
  const shown = [split, splitNames.diameter].filter((name, i, all) => name && all.indexOf(name) === i)
  const groups = shown.flatMap(name => {
    const group = summaryRows(rows).filter(row => row.split === name && row.confusion)
    if (group.length === 0) return []
    const tables = group.map(
      row => `<figure>${matrix(row.confusion!, classes)}<figcaption>${methodNames[row.method]}</figcaption></figure>`,
    )
    return [`<h3>${escaped(name!)}</h3><div class="triple">${tables.join('')}</div>`]
  })
  return section('What is taken for what', 'Rows: what it was. Columns: what was said. Shares of each row.', ...groups)
}

function reliability({ curves }: Evaluation): string {
  const charts = curves.map(curve => figure(curve.split, reliabilityChart(curve)))
  return section(
    'Do the models know when they do not know?',
    `Confidence against how often it was right; larger dots hold more windows, tenths with fewer than ${FEWEST_IN_BIN} are left out. On the dashed line a model means what it says; below it, it is too sure of itself, and escalation by confidence misses its mistakes.`,
    legend([
      ['local model', colours.local],
      ['server model', colours.server],
    ]),
    `<div class="pair">${charts.join('')}</div>`,
  )
}

function spectra({ spectra }: Evaluation): string {
  if (spectra.length === 0) return ''
  const rows = spectra.flatMap(example => [
    figure(`${example.class}, ${example.recording}: amplitude spectrum`, spectrumChart(example)),
    figure(`${example.class}: spectrum of the squared envelope`, envelopeChart(example)),
  ])
  return section(
    'What the faults look like',
    'One recording of each class, the smallest defect at no load. Left: amplitudes. Right: the envelope, where a defect shows at its own frequency and multiples of it; dashed lines are where the geometry puts them.',
    `<div class="pair">${rows.join('')}</div>`,
  )
}

function everyFigure({ rows }: Evaluation): string {
  const head = [
    'fold',
    'method',
    'accuracy',
    'macro F1',
    'fault or not',
    'missed faults',
    'false alarms',
    'escalated',
    'bytes/window',
  ]
  const body = [...groupBy(rows, row => row.split)].map(([split, group]) => {
    const title = `<tr class="group"><th colspan="${head.length}">${escaped(split)} <span>${group[0]!.models} models</span></th></tr>`
    const lines = group.map((row, i) => {
      const first = group[i - 1]?.fold !== row.fold
      const span = group.filter(({ fold }) => fold === row.fold).length
      const fold = `<td rowspan="${span}">${escaped(row.fold)}<small>${row.windows} windows, ${row.runs} runs</small></td>`
      const cells = [
        withInterval(row.accuracy),
        withInterval(row.macroF1),
        withInterval(row.detection),
        percent(row.missedFaultRate),
        alarms(row.falseAlarms),
        percent(row.escalated),
        whole(row.bytesPerWindow),
      ].map(cell => `<td>${cell}</td>`)
      const classes = [row.fold === ALL_FOLDS ? 'together' : '', first ? 'first' : ''].join(' ')
      const name = `<td><i style="background:${colours[row.method]}"></i>${methodNames[row.method]}</td>`
      return `<tr class="${classes}">${first ? fold : ''}${name}${cells.join('')}</tr>`
    })
    return `<tbody>${title}${lines.join('')}</tbody>`
  })
  return section(
    'Every figure',
    'Brackets: 95 % interval, bootstrap over runs; none where fewer than eight runs were tested. “≤ …/h”: false alarms per hour that so short a normal recording rules out at 95 %.',
    `<div class="scroll"><table class="figures"><thead><tr>${head.map(name => `<th>${name}</th>`).join('')}</tr></thead>${body.join('')}</table></div>`,
  )
}

function method({ escalationBytes, seed }: Evaluation): string {
  const sentences = [
    'Windows of one recording resemble each other, so whole recordings move between the sides of a split, and whole runs where a run was stored in parts.',
    'Where a rig has one normal recording only, as CWRU at 0 hp, it is cut in time with gaps of 1 s, and the same last part tests every fold: normal recall rests on very few windows there.',
    'Loads of CWRU are reruns of the same damaged bearings: leaving a load out tests repeatability. Leaving a diameter out comes nearest to a bearing nobody has seen.',
    'Both together: the policy that devices start with, as its calibration makes it before any verdict has taught it, at the price at which it escalates a fifth of the validation side.',
    'Epoch, temperature, calibration, price and RMS limit are chosen without the test side. The RMS rule says “faulty” above a level and can name no fault.',
    'The commissioning rule was settled with these UESTC runs in view: an earlier form, with a lighter tail and on RMS, raised one false alarm at 800 rpm. Read its figures as a demonstration, not as a blind test.',
    `One escalation is ${whole(escalationBytes)} bytes on the wire (2,048 samples as 16-bit integers and what goes with them); MQTT and TCP headers come on top.`,
    `The same seed (${seed}) on the same backend gives the same figures.`,
  ]
  return section('How it was measured', '', `<ul>${sentences.map(sentence => `<li>${sentence}</li>`).join('')}</ul>`)
}
