import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, type TestContext, test } from 'node:test'
import { createProgram } from '@faultline/runtime'
import * as tf from '@tensorflow/tfjs'
import { boundariesOf } from '../../lab/evaluation/images/boundaries.ts'
import { breakEven, cheaperBetween } from '../../lab/evaluation/images/break-even.ts'
import { addImagesCommand } from '../../lab/evaluation/images/command.ts'
import { bestCut, type CutFigures } from '../../lab/evaluation/images/cuts.ts'
import { evaluateImages, type ImageEvaluation } from '../../lab/evaluation/images/evaluation.ts'
import { expenseOf, together } from '../../lab/evaluation/images/expense.ts'
import { findingsOf } from '../../lab/evaluation/images/findings.ts'
import { defaultLinks, type Link, linkJoules, linkMs, parseLinks } from '../../lab/evaluation/images/links.ts'
import type { Method } from '../../lab/evaluation/images/methods.ts'
import { Partitions, roundedTo8Bits } from '../../lab/evaluation/images/partitions.ts'
import { medianMs } from '../../lab/evaluation/images/timing.ts'
import { expenseOfMethod, rowOf, waysOver } from '../../lab/evaluation/images/ways.ts'
import { wilson } from '../../lab/evaluation/intervals.ts'
import { bitmap } from '../../lab/report/bitmap.ts'
import { filledPage, markdownTable } from '../../lab/report/table.ts'
import { runCommand } from '../support/command.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { blueAsRed, doubtfulGreen, sureOfRed, writeTinyPair, writeTinyTest } from './images.ts'

before(async () => {
  await tf.setBackend('cpu')
})

const near = (actual: number, expected: number, tolerance = 1e-9) =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected}`)

const link = (change: Partial<Link> = {}): Link => ({
  name: 'link',
  megabitsPerSecond: 2,
  roundTripMs: 10,
  microjoulesPerByte: 3,
  watts: 0.5,
  source: 'test',
  ...change,
})

test('a link takes its rate and its round trip, and the radio is on that long', () => {
  // 3,000 bytes at 2 Mbit/s are 12 ms.
  near(linkMs(link(), 3000), 22)
  near(linkJoules(link(), 3000), 0.009 + 0.011)
  const [ble, wifi, lte] = defaultLinks.map(each => linkMs(each, 3125))
  near(ble!, 25)
  near(wifi!, 1.25)
  near(lte!, 52.5)
})

test('links from a command line are read or refused whole', () => {
  const [first, second] = parseLinks('mine:0.25:100:1.5:0.2, other:1:0:0:0')!
  assert.deepEqual(
    first,
    link({
      name: 'mine',
      megabitsPerSecond: 0.25,
      roundTripMs: 100,
      microjoulesPerByte: 1.5,
      watts: 0.2,
      source: 'as given',
    }),
  )
  assert.equal(second!.name, 'other')
  for (const wrong of ['', 'a', 'a:1:2:3', 'a:0:0:0:0', 'a:1:-1:0:0', 'a:1:x:0:0', ':1:0:0:0', 'a:1:0:0:0,a:2:0:0:0'])
    assert.equal(parseLinks(wrong), undefined, wrong)
})

test('an answer takes the device its factor longer, then the link, then the server', () => {
  const device = { factor: 4, watts: 2 }
  const work = { deviceMs: 5, bytes: 3000, serverMs: 7 }
  const sent = expenseOf(work, link(), device)
  near(sent.latencyMs, 20 + 22 + 7)
  near(sent.millijoules, 40 + 20)
  const kept = expenseOf({ ...work, bytes: null, serverMs: 0 }, link(), device)
  assert.deepEqual(kept, { bytes: 0, latencyMs: 20, millijoules: 40 })
  const mean = together(kept, sent, 0.25)
  assert.deepEqual(mean, { bytes: 750, latencyMs: 20 + 49 / 4, millijoules: 40 + 60 / 4 })
})

test('a threshold pays between two prices that follow from counting', () => {
  const outcome = (confidence: number, localRight: boolean, serverRight: boolean) => ({
    confidence,
    localRight,
    serverRight,
  })
  const outcomes = [
    // Escalated: five, on which the server is right four times and the device once.
    ...[true, true, true].map(server => outcome(0.3, false, server)),
    outcome(0.3, true, true),
    outcome(0.3, false, false),
    // Accepted: ten, of which the device has two wrong and the server one.
    ...Array.from({ length: 8 }, () => outcome(0.9, true, true)),
    outcome(0.9, false, true),
    outcome(0.9, false, false),
  ]
  const range = breakEven(outcomes, 0.5)!
  near(range.from, 1 / 10)
  near(range.to, 3 / 5)
  // At both ends the costs are those of always and of never.
  const cost = (price: number) => 2 + 1 + 5 * price
  near(cost(range.from), 15 * range.from + 2)
  near(cost(range.to), 6)
  assert.equal(breakEven(outcomes, 0), null)
  assert.equal(breakEven(outcomes, 1), null)
  const useless = outcomes.map(({ confidence, localRight }) => outcome(confidence, localRight, localRight))
  assert.equal(breakEven(useless, 0.5), null)
  assert.deepEqual(cheaperBetween([0, 0.1, 0.2, 0.3], [0.1, 0.15, 0.2, 0.35], 0.3, 0.1), { from: 0.1, to: 0.2 })
  assert.equal(cheaperBetween([0, 0.1], [0.3, 0.3], 0.3, 0.1), null)
})

test('the best cut is the one whose device, link and server together are fastest', () => {
  const cut = (after: string, headMs: number, float32: number, tailMs: number): CutFigures => ({
    after,
    shapes: [[float32 / 4]],
    bytes: { float32, uint8: float32 / 4 },
    headMs,
    tailMs,
    agreement: 1,
  })
  const cuts = [cut('first', 1, 40_000, 9), cut('second', 3, 8000, 7), cut('third', 9, 400, 1)]
  const device = { factor: 2, watts: 1 }
  const best = (precision: 'float32' | 'uint8', megabitsPerSecond: number) =>
    bestCut(cuts, precision, 100, link({ megabitsPerSecond, roundTripMs: 0 }), device)!
  // At 1 Mbit/s 401, 77.8 and 23 ms; at 100 Mbit/s 14.2, 13.6 and 19 ms; with 8 bits 11.8, 13.2 and 19 ms.
  near(best('float32', 1).latencyMs, 18 + 4 + 1)
  assert.equal(best('float32', 1).after, 'third')
  near(best('float32', 100).latencyMs, 6 + 0.648 + 7)
  assert.equal(best('float32', 100).after, 'second')
  assert.equal(best('uint8', 100).after, 'first')
  assert.equal(bestCut([], 'float32', 100, link(), device), undefined)
})

test('timed runs take turns', async () => {
  const order: string[] = []
  const times = await medianMs(
    ['a', 'b'].map(name => async () => order.push(name)),
    undefined,
    2,
  )
  assert.equal(order.slice(-4).join(''), 'abab')
  assert.equal(times.length, 2)
})

type Tensor = tf.SymbolicTensor
let seed = 1
const convolution = (name: string, filters: number, input: Tensor, activation: 'relu' | 'linear' = 'relu') =>
  tf.layers
    .conv2d({
      name,
      filters,
      kernelSize: 3,
      padding: 'same',
      activation,
      kernelInitializer: tf.initializers.glorotUniform({ seed: seed++ }),
      biasInitializer: tf.initializers.randomUniform({ minval: -0.1, maxval: 0.1, seed: seed++ }),
    })
    .apply(input) as Tensor
const head = (name: string, input: Tensor) => {
  const mean = tf.layers.globalAveragePooling2d({ name: `${name}mean` }).apply(input)
  const dense = tf.layers.dense({
    name: `${name}dense`,
    units: 4,
    kernelInitializer: tf.initializers.glorotUniform({ seed: seed++ }),
  })
  return dense.apply(mean) as Tensor
}

/** One residual block whose first layers are a normalisation and a ReLU, then its end. */
function residual(): tf.LayersModel {
  const input = tf.input({ shape: [6, 6, 3], name: 'net-in' })
  const stem = convolution('net-stem', 5, input)
  const normal = tf.layers.batchNormalization({ name: 'net-normal' }).apply(stem)
  const relu = tf.layers.reLU({ name: 'net-relu' }).apply(normal) as Tensor
  const inner = convolution('net-b', 5, convolution('net-a', 5, relu), 'linear')
  const sum = tf.layers.add({ name: 'net-add' }).apply([stem, inner]) as Tensor
  return tf.model({ name: 'net', inputs: input, outputs: head('net-', sum) })
}

/** Two networks side by side that meet in their mean. */
function doubled(): tf.LayersModel {
  const input = tf.input({ shape: [6, 6, 3], name: 'net-in' })
  const branch = (name: string) => head(`net-${name}-`, convolution(`net-${name}-a`, 5, input))
  const outputs = tf.layers.average({ name: 'net-average' }).apply([branch('x'), branch('y')]) as Tensor
  return tf.model({ name: 'net', inputs: input, outputs })
}

test('a network is cut after each of its steps, and only what is needed crosses', () => {
  const found = (model: tf.LayersModel) => boundariesOf(model).map(({ after, values }) => [after, values])
  assert.deepEqual(found(residual()), [
    ['input', 108],
    ['stem', 180],
    ['stem + a', 360],
    ['stem + b', 360],
    ['add', 180],
    ['mean', 5],
    ['dense', 4],
  ])
  assert.deepEqual(found(doubled()), [
    ['input', 108],
    ['x-a + y-a', 360],
    ['x-mean + y-mean', 10],
    ['x-dense + y-dense', 8],
    ['average', 4],
  ])
})

for (const [name, build] of Object.entries({ residual, doubled }))
  test(`both parts of each cut together answer as the whole: ${name}`, async t => {
    const directory = await temporaryDirectory(t)
    const model = build()
    await model.save(
      tf.io.withSaveHandler(async ({ modelTopology, weightSpecs, weightData }) => {
        const manifest = [{ paths: ['weights.bin'], weights: weightSpecs }]
        await writeFile(
          join(directory, 'model.json'),
          JSON.stringify({ format: 'layers-model', modelTopology, weightsManifest: manifest }),
        )
        await writeFile(join(directory, 'weights.bin'), Buffer.from(weightData as ArrayBuffer))
        return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } }
      }),
    )
    const image = (await tf.randomUniform([6, 6, 3], 0, 1, 'float32', 3).data()) as Float32Array
    const expected = (model.predict(tf.tensor4d(image, [1, 6, 6, 3])) as tf.Tensor).dataSync()
    const partitions = await Partitions.open(directory)
    t.after(() => partitions.dispose())
    await partitions.check(image)
    for (const cut of partitions.cuts) {
      const crossed = await partitions.crossing(cut, image)
      assert.equal(crossed.length, cut.boundary.values)
      const answer = cut.tail ? await cut.tail.run(crossed, 1) : crossed
      for (const [i, value] of answer.entries()) near(value, expected[i]!, 1e-4)
    }
  })

test('eight bits keep the ends and lose at most half a step', () => {
  const values = Float32Array.of(-1, 0.1234, 0.5, 4.1)
  const rounded = roundedTo8Bits(values)
  near(rounded[0]!, -1, 1e-6)
  near(rounded[3]!, 4.1, 1e-6)
  for (const [i, value] of values.entries()) near(rounded[i]!, value, 5.1 / 255 / 2 + 1e-6)
  assert.deepEqual(roundedTo8Bits(Float32Array.of(2, 2)), Float32Array.of(2, 2))
})

test('a share has the interval of Wilson', () => {
  // Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611.
  const { low, high } = wilson(81, 263)
  near(low!, 0.2553, 1e-4)
  near(high!, 0.3662, 1e-4)
  near(wilson(0, 20).high!, 0.1611, 1e-4)
})

async function tinyWorld(t: TestContext, options?: Parameters<typeof writeTinyPair>[1]) {
  const [data, models] = [await temporaryDirectory(t), await temporaryDirectory(t)]
  await writeTinyTest(join(data, 'cifar10'))
  await writeTinyPair(models, options)
  return { data, models }
}

const settings = { links: defaultLinks, device: { factor: 8, watts: 1 }, seed: 1, engine: 'onnx', rounds: 3 } as const

test('ten images, by hand', async t => {
  const evaluation = await evaluateImages({ ...(await tinyWorld(t)), ...settings })
  const figures = (method: Method, price: number) => {
    const { accuracy, sent, cost } = rowOf(evaluation, method, price)
    return [accuracy.value, sent.value, cost.value]
  }
  const check = (method: Method, price: number, expected: number[]) =>
    figures(method, price).forEach((value, i) => {
      near(value, expected[i]!, 1e-9)
    })

  await t.test('wrong answers of both models and the price of what is sent make the cost', () => {
    // The device has both blue ones and the mislabelled one wrong, the server the last only.
    check('never', 0.2, [0.7, 0, 0.3])
    check('always', 0.2, [0.9, 1, 0.3])
    check('partitioning', 0.2, [0.9, 1, 0.3])
    check('always', 0.5, [0.9, 1, 0.6])
  })

  await t.test('the calibrated threshold sends what is less sure than the price', () => {
    assert.ok(1 - sureOfRed < 0.05 && 1 - doubtfulGreen > 0.3 && 1 - doubtfulGreen < 0.5 && 1 - blueAsRed > 0.5)
    check('calibrated', 0.05, [0.9, 0.3, 0.115])
    check('calibrated', 0.2, [0.9, 0.3, 0.16])
    check('calibrated', 0.5, [0.9, 0.2, 0.2])
  })

  await t.test('hindsight sends the two blue ones alone', () => {
    check('best-fixed', 0.2, [0.9, 0.2, 0.14])
    check('best-fixed', 0.5, [0.9, 0.2, 0.2])
  })

  await t.test("the bundle's threshold pays up to the gain of each image it sends", () => {
    near(evaluation.pays.threshold!.from, 0)
    near(evaluation.pays.threshold!.to, 1)
    // At 0.57 the calibrated threshold still sends the blue ones: 0.1 + 0.2 x 0.54, below never.
    assert.ok(evaluation.pays.calibrated!.from <= 0.05 && evaluation.pays.calibrated!.to >= 0.5)
  })

  await t.test('bytes, time and energy follow from what is sent', () => {
    const { escalationBytes, imageBytes, times, device } = evaluation
    assert.equal(imageBytes, 48)
    assert.ok(escalationBytes > 48 + 200 && escalationBytes < 48 + 600)
    const [ble] = defaultLinks as [Link]
    const { never, always, whole } = waysOver(ble, evaluation)
    near(never.latencyMs, times.localMs * device.factor)
    near(whole.latencyMs, times.serverMs * device.factor)
    near(always.latencyMs, (escalationBytes * 8) / 1000 + times.serverMs)
    const row = rowOf(evaluation, 'calibrated', 0.2)
    const mean = expenseOfMethod(row, ble, evaluation)
    near(mean.bytes, 0.3 * escalationBytes)
    near(mean.latencyMs, never.latencyMs + 0.3 * always.latencyMs)
    near(mean.millijoules, times.localMs * 8 + 0.3 * linkMs(ble, escalationBytes) * 0.02)
  })

  await t.test('the network is cut after each layer', () => {
    assert.deepEqual(
      evaluation.cuts.map(({ after, bytes }) => [after, bytes?.float32, bytes?.uint8]),
      [
        ['input', 48, 48],
        ['conv', 192, 48],
        ['pool', 48, 12],
        ['mean', 12, 3],
        ['dense', undefined, undefined],
      ],
    )
    for (const { agreement } of evaluation.cuts.slice(1, -1)) assert.equal(agreement, 1)
    assert.equal(evaluation.cuts[0]!.headMs, 0)
    assert.equal(evaluation.cuts.at(-1)!.tailMs, 0)
  })

  await t.test('examples are counted by what happened to them', () => {
    const counts = evaluation.examples.map(({ count }) => count)
    assert.equal(
      counts.reduce((a, b) => a + b, 0),
      10,
    )
    // Nobody sees the mislabelled red: accepted and wrong, or sent and still wrong.
    assert.equal(counts[1]! + counts[4]!, 1)
    assert.deepEqual(evaluation.confusion.server, [
      [6, 0, 0],
      [0, 1, 0],
      [1, 0, 2],
    ])
  })
})

test('a server without layers leaves partitioning out and says so', async t => {
  const evaluation = await evaluateImages({ ...(await tinyWorld(t, { layers: false })), ...settings })
  assert.equal(evaluation.cuts.length, 0)
  assert.match(evaluation.notes.join(), /could not be cut/)
  assert.ok(findingsOf(evaluation).every(finding => !finding.includes('cut where')))
})

const evaluate = join(import.meta.dirname, '..', '..', 'lab', 'evaluate.ts')

test('the command prints tables and writes JSON, a report and a page', async t => {
  const { data, models } = await tinyWorld(t)
  const out = await temporaryDirectory(t)
  const [json, html, markdown] = ['figures.json', 'report.html', 'page.md'].map(name => join(out, name))
  await writeFile(markdown!, filledPage('', 'old figures').replace(/^/, 'Before.\n\n'))
  const args = ['images', '--data', data, '--models', models, '--json', json!, '--html', html!, '--markdown', markdown!]
  let stdout = ''
  const program = createProgram('evaluate', '')
  addImagesCommand(program, text => {
    stdout += text
  })
  await program.parseAsync([...args, '--links', 'wire:10:1:0:0'], { from: 'user' })
  for (const text of [
    'never escalate',
    'DNN partitioning',
    'HI, default policy',
    'best threshold in hindsight',
    'wire',
  ])
    assert.ok(stdout.includes(text), text)
  const figures = JSON.parse(await readFile(json!, 'utf8')) as ImageEvaluation
  assert.equal(figures.images, 10)
  assert.equal(figures.rows.length, 30)
  assert.equal(figures.links[0]!.name, 'wire')
  const report = await readFile(html!, 'utf8')
  assert.doesNotMatch(report, /(src|href)="(?!data:)/)
  assert.equal(report.match(/<img /g)!.length, 10)
  const page = await readFile(markdown!, 'utf8')
  assert.match(page, /^Before\./)
  assert.doesNotMatch(page, /old figures/)
  assert.match(page, /\| never escalate \| 70\.0 % /)
})

test('missing images and models are named, each with its code', async t => {
  const { data, models } = await tinyWorld(t)
  const empty = await temporaryDirectory(t)
  for (const [options, code] of [
    [{ data: empty, models }, 'RECORDING_UNREADABLE'],
    [{ data, models: empty }, 'BUNDLE_UNREADABLE'],
  ] as const)
    await assert.rejects(evaluateImages({ ...options, ...settings }), { code })
  const { code, stderr } = await runCommand(evaluate, ['images', '--data', empty, '--models', models])
  assert.equal(code, 1)
  assert.match(stderr, /^error RECORDING_UNREADABLE: .*test_batch\.bin/m)
  const refused = await runCommand(evaluate, ['images', '--data', data, '--models', models, '--links', 'x'])
  assert.equal(refused.code, 2)
})

test('a page keeps what is around its figures, however often they are written', () => {
  const first = filledPage('', '## One')
  const page = `# Title\n\n${first}\nAfter.\n`
  const second = filledPage(page, '## Two')
  assert.match(second, /^# Title\n/)
  assert.match(second, /## Two/)
  assert.doesNotMatch(second, /## One/)
  assert.match(second, /\nAfter\.\n$/)
  assert.equal(filledPage(second, '## Two'), second)
  const table = markdownTable({ title: 'T', head: ['a', 'b'], rows: [['x|y', '']], strong: [0] })
  assert.equal(table, '## T\n\n| a | b |\n| --- | --- |\n| **x\\|y** |  |')
})

test('a picture has its rows from below and its colours backwards', () => {
  const samples = Float32Array.of(10, 20, 30, 40, 50, 60)
  const address = bitmap({ samples, shape: [2, 1, 3] })
  const bytes = Buffer.from(address.replace('data:image/bmp;base64,', ''), 'base64')
  assert.equal(bytes.length, 54 + 2 * 4)
  assert.deepEqual([...bytes.subarray(54)], [60, 50, 40, 0, 30, 20, 10, 0])
})
