import assert from 'node:assert/strict'
import { cp, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, type TestContext, test } from 'node:test'
import { Classifier, createSigningKey, type EngineName, loadBundle, ServerTrust } from '@faultline/inference'
import * as tf from '@tensorflow/tfjs'
import type { Declaration } from '../../lab/import/declaration.ts'
import { type ImportOptions, importModel } from '../../lab/import/import.ts'
import { declaredInput, type InputOptions } from '../../lab/import/input-options.ts'
import { exportOnnx } from '../../lab/onnx/export.ts'
import { ModelProto } from '../../lab/onnx/schema.ts'
import { readTrusted } from '../../lab/signing.ts'
import { withCode } from '../inference/bundles.ts'
import { runCommand } from '../support/command.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { writeSmallDataset } from './support.ts'
import { SURFACE_SIZE, surfaceClasses, surfaces } from './surfaces.ts'

const fixture = (name: string) => join(import.meta.dirname, 'fixtures', name)
const photographs = surfaces(150, 11)

before(async () => {
  await tf.setBackend('cpu')
})

const models = (...args: string[]) => runCommand('lab/models.ts', args)
const asked = ['--task', 'surface', '--role', 'local', '--classes', surfaceClasses.join(','), '--normal', 'sound']

/** The share of the photographs a bundle names rightly. */
async function accuracyOf(directory: string, engine: EngineName): Promise<number> {
  const classifier = await Classifier.load(directory, { engine })
  try {
    const answers = await classifier.classify(photographs.map(({ window }) => window))
    return (
      answers.filter(({ classification }, i) => classification.label === surfaceClasses[photographs[i]!.label]).length /
      photographs.length
    )
  } finally {
    await classifier.dispose()
  }
}

const surface: Declaration = {
  name: 'surface-local',
  version: '1.0.0',
  task: 'surface',
  role: 'local',
  classes: [...surfaceClasses],
  normal: 'sound',
  output: 'probabilities',
  input: { kind: 'image', pixels: { scale: 1, mean: [0], std: [1] } },
}

/** ImageNet's mean and deviation. */
const pixels = { scale: 1 / 255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }
const fromPytorch: Declaration = { ...surface, output: 'logits', input: { kind: 'image', pixels } }

async function imported(t: TestContext, options: Partial<ImportOptions> = {}) {
  const out = join(await temporaryDirectory(t), 'bundle')
  return importModel({ model: fixture('keras.onnx'), declaration: surface, out, ...options })
}

const users: [who: string, model: string, options: string[]][] = [
  ['PyTorch', 'pytorch.onnx', ['--normalise', 'imagenet', '--logits']],
  ['Keras', 'keras.onnx', ['--normalise', 'none']],
]
for (const [who, model, options] of users)
  test(`a ${who} user brings a model by the command line and it classifies`, async t => {
    const out = join(await temporaryDirectory(t), 'bundle')
    const name = ['--name', 'surface-local', '--input', 'image', '--out', out]
    const { code, stdout, stderr } = await models('import', fixture(model), ...asked, ...name, ...options)
    assert.equal(code, 0, stderr)
    assert.match(stdout, /golden outputs are right on onnx\n/)
    const accuracy = await accuracyOf(out, 'onnx')
    assert.ok(accuracy > 0.93, `${accuracy}`)
  })

test('a batch of one with its weights beside it, as PyTorch writes by default, classifies', async t => {
  const { bundle, notes } = await imported(t, { model: fixture('pytorch-fixed.onnx'), declaration: fromPytorch })
  assert.ok((await accuracyOf(bundle.directory, 'onnx')) > 0.93)
  assert.match(notes.join(), /one input at a time/)
})

test('a TF.js graph model, as its converter makes of Keras, classifies', async t => {
  const { bundle, verification } = await imported(t, { model: fixture('keras-tfjs') })
  assert.ok(verification.passed.includes('tfjs-wasm') && !verification.passed.includes('onnx'))
  assert.ok((await accuracyOf(bundle.directory, 'tfjs-wasm')) > 0.93)
})

test('the wrong normalisation shows in the answers, so the right one was used', async t => {
  const pixels = { scale: 1 / 255, mean: [0.5], std: [0.2] }
  const { bundle } = await imported(t, { declaration: { ...surface, input: { kind: 'image', pixels } } })
  assert.ok((await accuracyOf(bundle.directory, 'onnx')) < 0.6)
})

test('the same model gives the same bundle but for the time, readable for everybody', async t => {
  const [{ bundle: one }, { bundle: two }] = [await imported(t), await imported(t)]
  const withoutTime = { ...one.description.training, at: '' }
  assert.deepEqual(
    { ...one.description, training: withoutTime },
    { ...two.description, training: { ...two.description.training, at: '' } },
  )
  assert.equal((await stat(one.directory)).mode & 0o055, 0o055 & ~process.umask())
})

/** A file of records as CIFAR-10 has them. */
async function writeBatch(path: string, seed: number, count: number): Promise<void> {
  const plane = SURFACE_SIZE ** 2
  const records = surfaces(count, seed).map(({ window, label }) => {
    const record = Buffer.alloc(1 + 3 * plane, label)
    for (let i = 0; i < plane; i++)
      for (let channel = 0; channel < 3; channel++) record[1 + channel * plane + i] = window.samples[i * 3 + channel]!
    return record
  })
  await writeFile(path, Buffer.concat(records))
}

test('labelled batches calibrate a model: temperature, threshold, reliability', async t => {
  const data = await temporaryDirectory(t)
  await writeBatch(join(data, 'one.bin'), 21, 120)
  await writeBatch(join(data, 'two.bin'), 22, 90)
  const { bundle } = await imported(t, { calibration: data })
  const { calibration, training } = bundle.description
  const { reliability, temperature, threshold, correctness } = calibration
  assert.ok(temperature >= 1 && threshold! >= 0 && threshold! < 1)
  assert.equal(reliability!.samples, 210)
  assert.equal(correctness!.samples, 210)
  assert.ok(reliability!.accuracy > 0.93)
  assert.ok(reliability!.calibrationError < 0.1)
  assert.equal(
    reliability!.bins.reduce((sum, { count }) => sum + count, 0),
    210,
  )
  for (const { from, to, confidence } of reliability!.bins) assert.ok(confidence >= from && confidence <= to)
  assert.match(training.note, /keras\.onnx.*tf2onnx.*210 labelled examples/)
  const { accuracy } = training.metrics.calibrationData as { accuracy: number }
  assert.equal(accuracy, reliability!.accuracy)
})

test('with a server model beside it, the bundle of a local model says how far that is to be believed', async t => {
  const data = join(await temporaryDirectory(t), 'held-out.bin')
  await writeBatch(data, 21, 150)
  // A server that sees everything too dark, and is wrong about most of it.
  const dark = { scale: 1, mean: [200], std: [1] }
  const { bundle: server } = await imported(t, {
    declaration: { ...surface, name: 'surface-server', role: 'server', input: { kind: 'image', pixels: dark } },
  })
  const { bundle } = await imported(t, { calibration: data, server: server.directory })
  const { threshold, server: trust } = bundle.description.calibration
  assert.equal(trust!.model, server.digest)
  assert.ok(trust!.contradictions >= 50 && trust!.agreement.samples === 150)
  assert.ok(new ServerTrust(trust!).trust([0.6, 0.3, 0.1]) < 0)
  // Nothing is gained by asking it.
  assert.equal(threshold, 0)
  await assert.rejects(imported(t, { server: server.directory }), withCode('CONFIG_INVALID', /--server goes with/))
  const declaration: Declaration = { ...surface, classes: ['sound', 'crack', 'rust'] }
  await assert.rejects(
    imported(t, { declaration, calibration: data, server: server.directory }),
    withCode('MODEL_MISMATCH', /server names the classes/),
  )
})

test('labelled files in a directory per class calibrate too, and logits as well as probabilities', async t => {
  const data = await temporaryDirectory(t)
  for (const name of surfaceClasses) await mkdir(join(data, name))
  for (const [i, { window, label }] of surfaces(90, 31).entries())
    await writeFile(join(data, surfaceClasses[label]!, `${i}.raw`), Uint8Array.from(window.samples))
  const { bundle } = await imported(t, {
    model: fixture('pytorch.onnx'),
    declaration: { ...fromPytorch, role: 'server' },
    calibration: data,
  })
  assert.ok(bundle.description.calibration.reliability!.accuracy > 0.93)
  assert.equal(bundle.description.calibration.threshold, undefined)
  assert.equal(bundle.description.calibration.correctness, undefined)
})

test('labelled data that does not fit is refused, and no bundle appears', async t => {
  const data = await temporaryDirectory(t)
  await writeBatch(join(data, 'short.bin'), 1, 60)
  const whole = await readFile(join(data, 'short.bin'))
  const out = join(data, 'bundle')
  const refusals: [Buffer, RegExp][] = [
    [whole.subarray(1), /multiple of 3073/],
    [Buffer.concat([Buffer.from([3]), whole.subarray(1)]), /label 3, but 3 classes/],
    [whole.subarray(0, 30 * 3073), /30 labelled examples.*50/],
  ]
  for (const [bytes, words] of refusals) {
    await writeFile(join(data, 'short.bin'), bytes)
    await assert.rejects(imported(t, { calibration: data, out }), withCode('RECORDING_INVALID', words))
  }
  await assert.rejects(imported(t, { calibration: join(data, 'none'), out }), withCode('RECORDING_UNREADABLE'))
  assert.deepEqual(await readdir(data), ['short.bin'])
})

const bearingClasses = ['normal', 'ball', 'inner-race', 'outer-race']
const bearing: Declaration = {
  ...surface,
  name: 'bearing-cnn',
  task: 'bearing-fault',
  classes: bearingClasses,
  normal: 'normal',
  input: { kind: 'signal', samples: 512, rateHz: 12_000, representation: 'raw', mean: 0, scale: 1 },
}
const convolutional = () =>
  tf.sequential({
    layers: [
      tf.layers.conv1d({ inputShape: [512, 1], filters: 2, kernelSize: 16, strides: 8, activation: 'relu' }),
      tf.layers.globalAveragePooling1d(),
      tf.layers.dense({ units: 4, activation: 'softmax' }),
    ],
  })

async function writeOnnx(t: TestContext, bytes: Uint8Array): Promise<string> {
  const path = join(await temporaryDirectory(t), 'model.onnx')
  await writeFile(path, bytes)
  return path
}

test('a model of signals is calibrated on recordings', async t => {
  const data = await temporaryDirectory(t)
  await writeSmallDataset(data)
  const model = await writeOnnx(t, exportOnnx(convolutional()))
  const { bundle } = await imported(t, { model, declaration: bearing, calibration: data })
  const { input, calibration } = bundle.description
  assert.deepEqual(input, { kind: 'signal', samples: 512, rateHz: 12_000, representation: 'raw', shape: [512, 1] })
  // 36 recordings of one second and one of five.
  assert.equal(calibration.reliability!.samples, 36 * 23 + 117)
})

test('a TF.js layers model is brought with an ONNX form beside it, and signs where a key is given', async t => {
  const directory = await temporaryDirectory(t)
  await save(convolutional(), directory)
  const key = join(directory, 'key')
  assert.equal((await models('key', '--out', key)).code, 0)
  assert.equal((await stat(key)).mode & 0o777, 0o600)
  const { bundle, verification } = await imported(t, {
    model: directory,
    declaration: bearing,
    key: await readFile(key, 'utf8'),
  })
  assert.ok(verification.passed.includes('onnx') && verification.passed.includes('tfjs-wasm'))
  const trusted = (await readFile(`${key}.pub`, 'utf8')).trim()
  await loadBundle(bundle.directory, { trusted: [trusted] })
})

test('what was signed on the command line is verified there', async t => {
  const { bundle } = await imported(t)
  const key = join(bundle.directory, '../key')
  const { privateKey, publicKey } = createSigningKey()
  await writeFile(key, privateKey)
  await writeFile(`${key}.pub`, `${publicKey}\n`)
  const unsigned = await models('verify', bundle.directory, '--trust', publicKey)
  assert.equal(unsigned.code, 1)
  assert.match(unsigned.stderr, /^error BUNDLE_UNSIGNED/)
  assert.equal((await models('sign', bundle.directory, '--key', key)).code, 0)
  const { code, stdout, stderr } = await models('verify', bundle.directory, '--trust', `${key}.pub`)
  assert.equal(code, 0, stderr)
  assert.match(stdout, /which is trusted/)
})

test('a key never replaces another, and only what is a key is trusted', async t => {
  const key = join(await temporaryDirectory(t), 'key')
  await writeFile(`${key}.pub`, 'a key that is in use')
  const { code, stderr } = await models('key', '--out', key)
  assert.equal(code, 2)
  assert.match(stderr, /CONFIG_EXISTS.*key\.pub/)
  await assert.rejects(readTrusted([join(key, 'none')]), withCode('CONFIG_UNREADABLE'))
})

test('a layers model whose layers have no ONNX form still comes, with a note', async t => {
  const directory = await temporaryDirectory(t)
  const layers = [
    tf.layers.simpleRNN({ inputShape: [512, 1], units: 4 }),
    tf.layers.dense({ units: 4, activation: 'softmax' }),
  ]
  await save(tf.sequential({ layers }), directory)
  const { bundle, notes } = await imported(t, { model: directory, declaration: bearing })
  assert.equal(bundle.description.formats.onnx, undefined)
  assert.match(notes.join(), /SimpleRNN/)
})

test('a bundle that is there already is replaced only when that is asked for', async t => {
  const out = join(await temporaryDirectory(t), 'bundle')
  await imported(t, { out })
  await assert.rejects(imported(t, { out }), withCode('CONFIG_EXISTS'))
  await writeFile(join(out, 'left.txt'), 'over')
  await imported(t, { out, force: true })
  assert.deepEqual(await readdir(out), ['bundle.json', 'network.onnx'])
})

async function save(model: tf.LayersModel, directory: string): Promise<void> {
  await model.save(
    tf.io.withSaveHandler(async ({ modelTopology, weightSpecs, weightData }) => {
      const weightsManifest = [{ paths: ['weights.bin'], weights: weightSpecs }]
      await writeFile(join(directory, 'model.json'), JSON.stringify({ modelTopology, weightsManifest }))
      await writeFile(join(directory, 'weights.bin'), Buffer.from(weightData as ArrayBuffer))
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } }
    }),
  )
}

/** The parts of an ONNX file that tests spoil. */
interface Spoilt {
  opsetImport: { version: number }[]
  graph: {
    node: { opType: string; name: string; input: string[]; output: string[]; attribute?: object[] }[]
    initializer: {
      name: string
      rawData?: Uint8Array
      externalData?: { key: string; value: string }[]
      dataLocation?: number
    }[]
    input: SpoiltTensor[]
    output: SpoiltTensor[]
  }
}
interface SpoiltTensor {
  name: string
  type: { tensorType: { elemType: number; shape: { dim: { dimValue?: number; dimParam?: string }[] } } }
}

/** An ONNX network of a reshape and one dense layer, 6 values to 3 classes, after an edit. */
function spoiltOnnx(edit: (model: Spoilt) => unknown, inputShape: number[] = [6]): Uint8Array {
  const size = inputShape.reduce((product, extent) => product * extent, 1)
  const layers = [
    tf.layers.reshape({ inputShape, targetShape: [size] }),
    tf.layers.dense({ units: 3, activation: 'softmax' }),
  ]
  const model = ModelProto.toObject(ModelProto.decode(exportOnnx(tf.sequential({ layers }))), { longs: Number })
  edit(model as Spoilt)
  return ModelProto.encode(ModelProto.fromObject(model)).finish()
}

const six: Declaration = {
  ...surface,
  input: { kind: 'signal', samples: 6, rateHz: 100, representation: 'samples', mean: 0, scale: 1 },
}
const dims = (tensor: SpoiltTensor) => tensor.type.tensorType.shape.dim
const copied = (tensor: SpoiltTensor, name: string): SpoiltTensor => ({ ...structuredClone(tensor), name })

const unsupported: Record<string, [RegExp, (model: Spoilt) => unknown]> = {
  'several inputs': [/2 inputs \(input, more\)/, ({ graph }) => graph.input.push(copied(graph.input[0]!, 'more'))],
  'several outputs': [
    /2 outputs \(output, more\)/,
    ({ graph }) => {
      graph.node.push({ opType: 'Relu', name: 'more', input: ['output'], output: ['more'] })
      graph.output.push(copied(graph.output[0]!, 'more'))
    },
  ],
  'an operator set of the future': [/operator set 99/, model => Object.assign(model.opsetImport[0]!, { version: 99 })],
  'an unknown operator': [
    /onnxruntime does not load it/,
    ({ graph }) => Object.assign(graph.node[0]!, { opType: 'Magic' }),
  ],
  'a fixed batch of 8': [/batches of 8/, ({ graph }) => dims(graph.input[0]!).splice(0, 1, { dimValue: 8 })],
  'whole numbers as input': [
    /input "input" is int32, not float32/,
    ({ graph }) => {
      Object.assign(graph.input[0]!.type.tensorType, { elemType: 6 })
      graph.node[0]!.input[0] = 'cast'
      graph.node.unshift({
        opType: 'Cast',
        name: 'cast',
        input: ['input'],
        output: ['cast'],
        attribute: [{ name: 'to', i: 1, type: 2 }],
      })
    },
  ],
  'no batch dimension': [/no batch dimension/, ({ graph }) => dims(graph.input[0]!).shift()],
}
for (const [what, [words, edit]] of Object.entries(unsupported))
  test(`an ONNX model with ${what} is refused`, async t => {
    const model = await writeOnnx(t, spoiltOnnx(edit))
    await assert.rejects(imported(t, { model, declaration: six }), withCode('MODEL_IMPORT_UNSUPPORTED', words))
  })

test('a model that only works on a batch of 1, whatever it says, is refused', async t => {
  const fixed = spoiltOnnx(({ graph }) => {
    const shape = new BigInt64Array([1n, 6n])
    graph.initializer[0]!.rawData = Buffer.from(shape.buffer)
  })
  const model = await writeOnnx(t, fixed)
  await assert.rejects(imported(t, { model, declaration: six }), withCode('MODEL_IMPORT_UNSUPPORTED', /batch of 8/))
})

const mismatches: Record<string, [RegExp, Partial<Declaration>, number[]?]> = {
  'fewer classes than it gives': [/\[3\], 2 classes/, { classes: ['sound', 'rust'] }],
  'windows of another length': [
    /\[6\] values, a window has 512 samples/,
    { input: { ...bearing.input, representation: 'samples' } as Declaration['input'] },
  ],
  'another number of features': [
    /\[6\], 2 features/,
    { input: { kind: 'features', samples: 512, rateHz: 1000, features: ['rms', 'peak'], mean: [0], scale: [1] } },
  ],
  'images, which it does not take': [/\[6\], an image is/, { input: surface.input }],
  'images of another layout': [
    /\[3, 5, 6\], which is chw, not hwc/,
    { input: { ...surface.input, layout: 'hwc' } as Declaration['input'] },
    [3, 5, 6],
  ],
  'images of another size': [
    /\[5, 6, 3\], --size says 8x8/,
    { input: { ...surface.input, size: [8, 8] } as Declaration['input'] },
    [5, 6, 3],
  ],
  'images without channels': [/number of channels/, { input: surface.input }, [7, 7, 7]],
  'logits, where it gives probabilities': [/leave --logits away/, { output: 'logits' }],
}
for (const [what, [words, declared, inputShape]] of Object.entries(mismatches))
  test(`a model declared with ${what} is refused`, async t => {
    const model = await writeOnnx(
      t,
      spoiltOnnx(() => {}, inputShape),
    )
    await assert.rejects(
      imported(t, { model, declaration: { ...six, ...declared } }),
      withCode('MODEL_MISMATCH', words),
    )
  })

test('a model declared with probabilities that gives logits is refused', async t => {
  await assert.rejects(imported(t, { model: fixture('pytorch.onnx') }), withCode('MODEL_MISMATCH', /--logits/))
})

test('an image whose layout is in doubt, and a number of means that fits no channel, ask for more', async t => {
  const model = await writeOnnx(
    t,
    spoiltOnnx(() => {}, [3, 5, 3]),
  )
  await assert.rejects(imported(t, { model }), withCode('CONFIG_INVALID', /--layout/))
  const pixels = { scale: 1, mean: [0, 0], std: [1] }
  const declaration: Declaration = { ...surface, input: { kind: 'image', pixels } }
  await assert.rejects(imported(t, { declaration }), withCode('CONFIG_INVALID', /--mean has 2 values for 3 channels/))
})

test('what is no model is told from a model that is refused', async t => {
  const directory = await temporaryDirectory(t)
  const files: Record<string, string> = { 'a.onnx': 'no', 'b.onnx': '', 'model.json': '{"a": 1}' }
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(directory, name), text)
    await assert.rejects(imported(t, { model: join(directory, name) }), withCode('MODEL_UNREADABLE'), name)
  }
  await assert.rejects(imported(t, { model: join(directory, 'none.onnx') }), withCode('MODEL_UNREADABLE', /none/))
  await cp(fixture('keras-tfjs/model.json'), join(directory, 'model.json'))
  await assert.rejects(imported(t, { model: directory }), withCode('MODEL_UNREADABLE', /shard/))
})

test('weights in a file beside the model come with it, unless it is missing, short or elsewhere', async t => {
  const directory = await temporaryDirectory(t)
  await cp(fixture('pytorch-fixed.onnx'), join(directory, 'model.onnx'))
  const model = join(directory, 'model.onnx')
  const declaration = fromPytorch
  await assert.rejects(imported(t, { model, declaration }), withCode('MODEL_UNREADABLE', /pytorch-fixed\.onnx\.data/))
  await writeFile(join(directory, 'pytorch-fixed.onnx.data'), 'short')
  await assert.rejects(imported(t, { model, declaration }), withCode('MODEL_UNREADABLE', /ends before/))
  await cp(fixture('pytorch-fixed.onnx.data'), join(directory, 'pytorch-fixed.onnx.data'))
  await imported(t, { model, declaration })
  const outside = spoiltOnnx(({ graph }) =>
    Object.assign(graph.initializer[0]!, { dataLocation: 1, externalData: [{ key: 'location', value: '../secret' }] }),
  )
  const path = await writeOnnx(t, outside)
  await assert.rejects(imported(t, { model: path, declaration: six }), withCode('MODEL_UNREADABLE', /outside/))
})

test('a model that takes one input at a time gives each of a batch its own answer', async t => {
  const answers: number[][] = []
  for (const name of ['pytorch.onnx', 'pytorch-fixed.onnx']) {
    const { bundle } = await imported(t, { model: fixture(name), declaration: fromPytorch })
    const classifier = await Classifier.load(bundle.directory, { engine: 'onnx' })
    const classified = await classifier.classify(photographs.slice(0, 8).map(({ window }) => window))
    answers.push(classified.flatMap(({ classification }) => [...classification.probabilities]))
    await classifier.dispose()
  }
  assert.equal(answers[0]!.length, 24)
  for (const [i, value] of answers[0]!.entries()) assert.ok(Math.abs(value - answers[1]![i]!) < 1e-5)
})

const misuses: [InputOptions, RegExp][] = [
  [{ input: 'image' }, /--input image needs --normalise/],
  [{ input: 'image', normalise: 'none', rate: 5 }, /--rate does not go with --input image/],
  [{ input: 'image', normalise: 'unit', mean: [1] }, /--normalise unit has a mean/],
  [{ input: 'image', mean: [1] }, /--normalise mean-std needs both/],
  [{ input: 'image', mean: [1], std: [0] }, /--std takes numbers above 0/],
  [{ input: 'signal', rate: 5, samples: 8 }, /--input signal needs --representation/],
  [{ input: 'signal', rate: 5, samples: 8, representation: 'wavelet' }, /"wavelet"; there are samples, raw/],
  [{ input: 'signal', rate: 5, samples: 8, representation: 'raw', mean: [1, 2] }, /--mean takes one number/],
  [{ input: 'features', rate: 5, samples: 8.5, features: ['rms'] }, /whole number/],
]
test('options that are missing or contradict each other are refused', () => {
  for (const [options, words] of misuses) assert.throws(() => declaredInput(options), withCode('CONFIG_INVALID', words))
})

test('a mistake on the command line is one line and exit code 2', async () => {
  const name = ['--name', 'x', '--out', '/nowhere/x']
  for (const [options, words] of [
    [['--input', 'image'], /^error CONFIG_INVALID: --input image needs --normalise/],
    [['--input', 'sound'], /Give one of features, signal, image/],
  ] as const) {
    const { code, stderr } = await models('import', fixture('keras.onnx'), ...asked, ...name, ...options)
    assert.equal(code, 2)
    assert.match(stderr, words)
    assert.equal(stderr.trim().split('\n').length, 1)
  }
})
