import assert from 'node:assert/strict'
import { appendFile, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Calibration, loadBundle, type Network, verifyGolden, writeBundle } from '@faultline/inference'
import fc from 'fast-check'
import { temporaryDirectory } from '../support/temp.ts'
import { copyOf, editDescription, fixture, type Spoilt, withCode } from './bundles.ts'

test('a bundle is identified by the digest of its description', async t => {
  const directory = await copyOf(t, 'tiny-features')
  const { digest, description } = await loadBundle(directory)
  assert.match(digest, /^sha256:[0-9a-f]{64}$/)
  assert.equal(description.name, 'tiny-features')
  await editDescription(directory, edited => {
    edited.version = '1.0.1'
  })
  assert.notEqual((await loadBundle(directory)).digest, digest)
})

const spoilt: Record<string, [RegExp, (description: Spoilt) => unknown]> = {
  'a format of the future': [/format/, d => Object.assign(d, { format: 2 })],
  'a field of its own': [/colour/, d => Object.assign(d, { colour: 'red' })],
  'one class twice': [/classes/, d => Object.assign(d, { classes: ['a', 'b', 'a'], normal: 'a' })],
  'a normal class that is no class': [/normal/, d => Object.assign(d, { normal: 'fine' })],
  'a temperature of 0': [/calibration\.temperature/, d => Object.assign(d.calibration, { temperature: 0 })],
  'a path that leaves it': [/formats\.onnx\.path/, d => Object.assign(d.formats.onnx!, { path: '../network.onnx' })],
  'an absolute path': [/formats\.onnx\.path/, d => Object.assign(d.formats.onnx!, { path: '/etc/passwd' })],
  'no network': [/formats/, d => Object.assign(d, { formats: {} })],
  'a reliability table of nothing': [
    /calibration\.reliability\.samples/,
    d => Object.assign(d.calibration, { reliability: { samples: 0, accuracy: 1, calibrationError: 0, bins: [] } }),
  ],
  'a correctness of other classes': [
    /calibration\.correctness\.classes/,
    d => Object.assign(d.calibration, { correctness: Calibration.fit([], { classes: 7 }).model }),
  ],
  'a correctness of some other kind': [
    /calibration\.correctness/,
    d => Object.assign(d.calibration, { correctness: { kind: 'isotonic' } }),
  ],
  'fewer means than features': [/input\.mean/, d => Object.assign(d.input, { mean: [0] })],
  'more scales than features': [/input\.scale/, d => Object.assign(d.input, { scale: [1, 1, 1, 1, 1] })],
  'a scale of 0': [/input\.scale/, d => Object.assign(d.input, { scale: [1, 1, 1, 0] })],
  'golden inputs of another width': [/golden\.inputs\.1/, d => d.golden.inputs[1]!.pop()],
  'golden outputs of another number': [/golden\.outputs/, d => d.golden.outputs.pop()],
}
for (const [what, [words, edit]] of Object.entries(spoilt)) {
  test(`a bundle with ${what} is refused and the field named`, async t => {
    const directory = await copyOf(t, 'tiny-features')
    await editDescription(directory, edit)
    await assert.rejects(loadBundle(directory), withCode('BUNDLE_INVALID', words))
  })
}

test('a bundle that asks for unknown features or representations is refused', async t => {
  const features = await copyOf(t, 'tiny-features')
  await editDescription(features, ({ input }) => {
    input.features[0] = 'loudness'
  })
  await assert.rejects(loadBundle(features), withCode('FEATURE_UNKNOWN', /loudness/))
  const signal = await copyOf(t, 'tiny-signal')
  await editDescription(signal, ({ input }) => {
    input.representation = 'wavelet'
  })
  await assert.rejects(loadBundle(signal), withCode('BUNDLE_INVALID', /wavelet/))
})

test('a description that is damaged anywhere gives a bundle or a coded error', async t => {
  const directory = await copyOf(t, 'tiny-features')
  const path = join(directory, 'bundle.json')
  const whole = await readFile(path)
  const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 3 })
  await fc.assert(
    fc.asyncProperty(damage, async places => {
      const bytes = Buffer.from(whole)
      for (const [at, value] of places) bytes[at] = value
      await writeFile(path, bytes)
      await loadBundle(directory).catch((error: { code?: string }) => {
        assert.match(error.code ?? String(error), /^(BUNDLE_|FEATURE_UNKNOWN)/)
      })
    }),
    { numRuns: 150 },
  )
})

test('a directory without a bundle, or without one of its files, is unreadable', async t => {
  await assert.rejects(loadBundle(await temporaryDirectory(t)), withCode('BUNDLE_UNREADABLE', /bundle\.json/))
  const directory = await copyOf(t, 'tiny-features')
  await rm(join(directory, 'weights.bin'))
  await assert.rejects(loadBundle(directory), withCode('BUNDLE_UNREADABLE', /weights\.bin/))
})

test('a file that grew or changed has the wrong digest', async t => {
  for (const name of ['network.onnx', 'model.json', 'weights.bin']) {
    const longer = await copyOf(t, 'tiny-features')
    await appendFile(join(longer, name), 'x')
    await assert.rejects(loadBundle(longer), withCode('BUNDLE_DIGEST_MISMATCH', new RegExp(name)))
    const changed = await copyOf(t, 'tiny-features')
    const bytes = await readFile(join(changed, name))
    bytes[bytes.length >> 1]! ^= 1
    await writeFile(join(changed, name), bytes)
    await assert.rejects(loadBundle(changed), withCode('BUNDLE_DIGEST_MISMATCH', new RegExp(name)))
  }
})

test('a symbolic link that leaves the bundle is refused', async t => {
  const directory = await copyOf(t, 'tiny-features')
  const outside = join(await temporaryDirectory(t), 'elsewhere')
  await mkdir(outside)
  await writeFile(join(outside, 'weights.bin'), await readFile(join(directory, 'weights.bin')))
  await rm(join(directory, 'weights.bin'))
  await symlink(join(outside, 'weights.bin'), join(directory, 'weights.bin'))
  await assert.rejects(loadBundle(directory), withCode('BUNDLE_INVALID', /outside/))
})

test('what is written is what is read', async t => {
  const { description } = await loadBundle(fixture('tiny-signal'))
  const { formats: _, ...rest } = description
  const directory = join(await temporaryDirectory(t), 'new')
  const weights = [Uint8Array.of(1, 2).buffer, Uint8Array.of(3).buffer]
  const bundle = await writeBundle(directory, rest, {
    onnx: Uint8Array.of(9, 8, 7),
    tfjs: { modelTopology: { a: 1 }, weightSpecs: [{ name: 'w' }], weightData: weights },
  })
  assert.deepEqual({ ...bundle.description, formats: description.formats }, description)
  assert.deepEqual([...(await readFile(join(directory, 'weights.bin')))], [1, 2, 3])
  assert.deepEqual([...(await readFile(join(directory, 'network.onnx')))], [9, 8, 7])
  assert.deepEqual(JSON.parse(await readFile(join(directory, 'model.json'), 'utf8')), {
    format: 'layers-model',
    modelTopology: { a: 1 },
    weightsManifest: [{ paths: ['weights.bin'], weights: [{ name: 'w' }] }],
  })
})

test('each row of numbers is one line, and texts stay as they are', async t => {
  const { description } = await loadBundle(fixture('tiny-features'))
  const { formats: _, ...rest } = description
  const note = 'rows such as [ 1, 2 ] and [\n 3\n]'
  const directory = join(await temporaryDirectory(t), 'new')
  const training = { ...rest.training, note }
  const written = await writeBundle(directory, { ...rest, training }, { onnx: Uint8Array.of(1) })
  assert.equal(written.description.training.note, note)
  assert.deepEqual(written.description.golden, description.golden)
  const text = await readFile(join(directory, 'bundle.json'), 'utf8')
  assert.ok(text.includes(`   ${JSON.stringify(description.golden.inputs[0])},\n`))
})

test('a description that does not fit is not written', async t => {
  const { description } = await loadBundle(fixture('tiny-signal'))
  const directory = join(await temporaryDirectory(t), 'new')
  await assert.rejects(writeBundle(directory, { ...description, classes: ['a', 'a'] }, {}), withCode('BUNDLE_INVALID'))
  await assert.rejects(loadBundle(directory), withCode('BUNDLE_UNREADABLE'))
})

const network = (answer: (batch: number) => Float32Array): Network => ({
  engine: 'onnx',
  run: async (_, batch) => answer(batch),
  dispose: async () => {},
})

test('golden outputs are compared value by value, within the tolerance', async () => {
  const bundle = await loadBundle(fixture('tiny-signal'))
  const { outputs, tolerance } = bundle.description.golden
  const right = (batch: number) => Float32Array.from(outputs.slice(0, batch).flat())
  await verifyGolden(network(right), bundle)
  await verifyGolden(
    network(batch => right(batch).map(value => value + tolerance / 2)),
    bundle,
  )
  const wrong: Record<string, (batch: number) => Float32Array> = {
    'one value off': batch => right(batch).map((value, i) => (i === 2 ? value + 3 * tolerance : value)),
    'no number': batch => right(batch).fill(Number.NaN),
    'too short': batch => right(batch).subarray(1),
    'right in a batch, wrong alone': batch => (batch === 1 ? right(batch).fill(0) : right(batch)),
  }
  for (const [what, answer] of Object.entries(wrong))
    await assert.rejects(verifyGolden(network(answer), bundle), withCode('BUNDLE_GOLDEN_MISMATCH'), what)
})
