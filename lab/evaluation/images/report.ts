import { colours, escalationChart, FEWEST_IN_BIN, reliabilityChart } from '../../report/charts.ts'
import { percent, whole } from '../../report/figures.ts'
import { figure, legend, matrix, page, section } from '../../report/page.ts'
import { escaped } from '../../report/plot.ts'
import { htmlTable, type Table } from '../../report/table.ts'
import { SHIPPED_PRICE } from '../pair.ts'
import { costColours, cutChart, cutColours, policyCostChart } from './charts.ts'
import type { ImageEvaluation } from './evaluation.ts'
import type { Example } from './examples.ts'
import { findingsOf } from './findings.ts'
import { tablesOf } from './tables.ts'

/** The image evaluation as one page that asks for nothing from outside. */
export function imageReport(evaluation: ImageEvaluation): string {
  const [first, ...others] = tablesOf(evaluation)
  return page(
    'Faultline: image evaluation',
    header(evaluation),
    tableSection(first!),
    escalation(evaluation),
    partitioning(evaluation),
    examples(evaluation),
    reliability(evaluation),
    confusion(evaluation),
    ...others.map(tableSection),
    method(evaluation),
  )
}

function header(evaluation: ImageEvaluation): string {
  const { at, images, seconds, models, notes } = evaluation
  return [
    '<header><p class="brand">Faultline</p><h1>Images: never, always, partitioned, or only the hard ones?</h1>',
    `<p class="lead">${whole(images)} test images that neither ${escaped(models.local)} nor ${escaped(models.server)} learned from. Run on ${at.slice(0, 10)} in ${whole(seconds)} s.</p>`,
    `<ul class="lead">${findingsOf(evaluation)
      .map(finding => `<li>${escaped(finding)}</li>`)
      .join('')}</ul>`,
    ...notes.map(note => `<p class="lead">${escaped(note)}</p>`),
    '</header>',
  ].join('')
}

function tableSection(table: Table): string {
  return section(escaped(table.title), escaped(table.note ?? ''), htmlTable(table))
}

function escalation(evaluation: ImageEvaluation): string {
  const { curves } = evaluation
  return section(
    'What escalation buys, and what it costs',
    'Left: accuracy as more images go to the server. Right: wrong answers plus b for each image sent.',
    legend([
      ['local model / never escalate', costColours.never],
      ['server model / always escalate', costColours.always],
      ['HI, default policy', costColours.default],
      ['HI, calibrated threshold', costColours.calibrated],
    ]),
    `<div class="pair">${[
      figure(
        `Line: every threshold on the calibrated confidence. Large dot: the bundle's, ${percent(curves.calibrated.y)} at ${percent(curves.calibrated.x)} sent. Dashed: images sent at random.`,
        escalationChart(curves),
      ),
      figure('Dashed: the best single threshold in hindsight.', policyCostChart(evaluation)),
    ].join('')}</div>`,
  )
}

function partitioning(evaluation: ImageEvaluation): string {
  const { cuts, links } = evaluation
  if (cuts.length === 0) return ''
  const charts = links.map(link =>
    figure(
      `${link.name}: ${link.megabitsPerSecond} Mbit/s, ${link.roundTripMs} ms round trip`,
      cutChart(link, evaluation),
    ),
  )
  return section(
    'DNN partitioning: where should the network be cut?',
    'The server’s network, its first layers on the device and the rest on the server, after every step. Far left the image is sent, far right nothing is. The scale is logarithmic; the layers are in the table of cuts.',
    legend([
      ['float32 crosses', cutColours.float32],
      ['8 bits cross (dashed)', cutColours.uint8],
      ['hierarchical inference, mean', cutColours.both],
    ]),
    `<div class="triple">${charts.join('')}</div>`,
  )
}

function examples({ examples }: ImageEvaluation): string {
  const groups = examples
    .filter(group => group.count > 0)
    .map(
      ({ title, count, examples }) =>
        `<h3>${escaped(title)} <small>${whole(count)} images</small></h3><div class="images">${examples.map(picture).join('')}</div>`,
    )
  return section(
    'What it looks like',
    `The first images of each kind in the order of the test set, as the default policy decides at b = ${SHIPPED_PRICE}. Below each: what it is, and what was said.`,
    ...groups,
  )
}

function picture({ image, truth, local, confidence, server }: Example): string {
  const said = [`device: ${local}, ${percent(confidence, 0)}`, ...(server === null ? [] : [`server: ${server}`])]
  return `<figure><img src="${image}" alt="${escaped(truth)}"><figcaption><b>${escaped(truth)}</b>${said.map(line => `<br>${escaped(line)}`).join('')}</figcaption></figure>`
}

function reliability({ curves }: ImageEvaluation): string {
  return section(
    'Do the models know when they do not know?',
    `Confidence against how often it was right; larger dots hold more images, tenths with fewer than ${FEWEST_IN_BIN} are left out. On the dashed line a model means what it says; below it, it is too sure of itself.`,
    legend([
      ['local model', colours.local],
      ['server model', colours.server],
    ]),
    `<div class="pair">${figure('', reliabilityChart(curves))}</div>`,
  )
}

function confusion({ confusion, classes }: ImageEvaluation): string {
  const names = { local: 'local model', both: `both, default policy at b = ${SHIPPED_PRICE}`, server: 'server model' }
  const matrices = (['local', 'both', 'server'] as const).map(
    who => `<figure>${matrix(confusion[who], classes)}<figcaption>${names[who]}</figcaption></figure>`,
  )
  return section(
    'What is taken for what',
    'Rows: what it was. Columns: what was said. Shares of each row.',
    `<div class="wide-matrices">${matrices.join('')}</div>`,
  )
}

function method({ seed }: ImageEvaluation): string {
  const sentences = [
    'Temperature, threshold and calibration come from the local bundle, which fitted them on images held out of the training batches. The test images are opened by this evaluation only.',
    'The default policy sees the images in the order of the file, learns from each verdict as on a device, and takes the server’s answer for the truth. Wrong answers are counted against the labels, the server’s too.',
    'Times are medians at batch 1 on one core, all networks in turns; the device takes its stated factor longer. The time of a link is bytes x 8 / rate plus the round trip. Queueing at the server, losses and headers of MQTT and TCP are not counted.',
    'Head and tail of each cut run as networks of their own, checked to give the whole network’s answer. Always escalating and partitioning run no local model.',
    'Brackets and ±: 95 %, over images (Wilson for shares, Student’s t for costs). They speak for images like these.',
    `The same seed (${seed}) gives the same figures, but for times.`,
  ]
  return section(
    'How it was measured',
    '',
    `<ul>${sentences.map(sentence => `<li>${escaped(sentence)}</li>`).join('')}</ul>`,
  )
}
