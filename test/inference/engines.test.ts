import assert from 'node:assert/strict'
import { basename } from 'node:path'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import {
  createEngine,
  type EngineName,
  engineNames,
  inputSize,
  loadBundle,
  type Network,
  Random,
  verifyGolden,
} from '@faultline/inference'
import * as tf from '@tensorflow/tfjs'
import { GuardedNetwork, type RawNetwork } from '../../inference/engines/guard.ts'
import { copyOf, editDescription, fixture, missingEngine, replaceFile, shippedBundles, withCode } from './bundles.ts'

const noise = (length: number) => {
  const random = new Random(length)
  return Float32Array.from({ length }, () => random.normal())
}

async function loaded(t: { after(clean: () => Promise<void>): void }, engine: EngineName, directory: string) {
  const bundle = await loadBundle(directory)
  const network = await createEngine(engine).load(bundle)
  t.after(() => network.dispose())
  const { classes, input } = bundle.description
  return { bundle, network, width: classes.length, size: inputSize(input) }
}

/** Memory of the process once everything is collected that can be. */
function memoryBytes(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage.rss()
}

for (const engine of engineNames) {
  describe(engine, { skip: missingEngine(engine) }, () => {
    for (const directory of [fixture('tiny-features'), fixture('tiny-signal'), ...shippedBundles]) {
      test(`reproduces the golden outputs of ${basename(directory)}`, async t => {
        const { bundle, network } = await loaded(t, engine, directory)
        assert.equal(network.engine, engine)
        await verifyGolden(network, bundle)
      })

      test(`gives ${basename(directory)} the same answers in batches of 1, 8 and 32`, async t => {
        const { network, width, size } = await loaded(t, engine, directory)
        const inputs = noise(32 * size)
        const alone: number[] = []
        for (let i = 0; i < 32; i++) alone.push(...(await network.run(inputs.slice(i * size, (i + 1) * size), 1)))
        for (const batch of [8, 32]) {
          const together = await network.run(inputs.slice(0, batch * size), batch)
          assert.equal(together.length, batch * width)
          for (const [i, value] of together.entries()) assert.ok(Math.abs(value - alone[i]!) < 1e-4, `batch ${batch}`)
        }
      })
    }

    test('takes a view into a larger buffer', async t => {
      const { network, size } = await loaded(t, engine, fixture('tiny-signal'))
      const large = noise(3 * size)
      const view = await network.run(large.subarray(size, 2 * size), 1)
      assert.deepEqual(view, await network.run(large.slice(size, 2 * size), 1))
    })

    test('answers runs that overlap each with its own output', async t => {
      const { network, size, width } = await loaded(t, engine, fixture('tiny-signal'))
      const inputs = noise(16 * size)
      const expected = await network.run(inputs, 16)
      const answers = await Promise.all(
        Array.from({ length: 16 }, (_, i) => network.run(inputs.slice(i * size, (i + 1) * size), 1)),
      )
      for (const [i, answer] of answers.entries())
        for (const [j, value] of answer.entries()) assert.ok(Math.abs(value - expected[i * width + j]!) < 1e-5)
    })

    test('refuses a batch that is not as many inputs as it says', async t => {
      const { network, size } = await loaded(t, engine, fixture('tiny-features'))
      for (const [length, batch] of [
        [size - 1, 1],
        [size, 2],
        [0, 0],
        [size, 1.5],
        [size, -1],
        [size, Number.NaN],
      ] as const)
        await assert.rejects(
          network.run(new Float32Array(length), batch),
          withCode('WINDOW_INVALID'),
          `${length}, ${batch}`,
        )
      assert.equal((await network.run(new Float32Array(size), 1)).length, 3)
    })

    test('can be disposed twice, while running, and not used afterwards', async t => {
      const { network, size } = await loaded(t, engine, fixture('tiny-signal'))
      const running = network.run(noise(size), 1)
      await Promise.all([network.dispose(), network.dispose()])
      assert.equal((await running).length, 3)
      await network.dispose()
      await assert.rejects(network.run(noise(size), 1), withCode('INTERNAL', /disposed/))
    })

    test('a bundle without its format, with a damaged or a wrong network is refused', async t => {
      const damaged = await copyOf(t, 'tiny-features')
      await replaceFile(damaged, engine === 'onnx' ? 'onnx' : 'model', Buffer.from('{"modelTopology": 3'))
      await assert.rejects(createEngine(engine).load(await loadBundle(damaged)), withCode('ENGINE_LOAD_FAILED'))

      const without = await copyOf(t, 'tiny-features')
      await editDescription(without, ({ formats }) => {
        delete formats[engine === 'onnx' ? 'onnx' : 'tfjs']
      })
      const bundle = await loadBundle(without)
      assert.equal(createEngine(engine).supports(bundle), false)
      await assert.rejects(createEngine(engine).load(bundle), withCode('ENGINE_LOAD_FAILED'))

      const other = await copyOf(t, 'tiny-signal')
      await editDescription(other, description => {
        description.input.shape = [32]
        description.golden.inputs = description.golden.inputs.map((row: number[]) => row.slice(0, 32))
      })
      await assert.rejects(createEngine(engine).load(await loadBundle(other)), withCode('ENGINE_LOAD_FAILED', /64.*32/))
    })

    test('a file swapped after the bundle was loaded is noticed', async t => {
      const directory = await copyOf(t, 'tiny-features')
      const bundle = await loadBundle(directory)
      await replaceFile(directory, engine === 'onnx' ? 'onnx' : 'model', Buffer.from('other'))
      await assert.rejects(createEngine(engine).load(bundle), withCode('BUNDLE_DIGEST_MISMATCH'))
    })

    test('keeps nothing of 100,000 inferences', async () => {
      const before = tf.memory().numTensors
      const bundle = await loadBundle(fixture('tiny-signal'))
      const network = await createEngine(engine).load(bundle)
      const [batch, runs] = [250, 400]
      const inputs = noise(batch * inputSize(bundle.description.input))
      const warm = tf.memory().numTensors
      // The process's memory settles while the first tenth runs; what every run kept, tensors of 64 kB, would show after it.
      for (let i = 0; i < runs / 10; i++) await network.run(inputs, batch)
      const settled = memoryBytes()
      for (let i = runs / 10; i < runs; i++) await network.run(inputs, batch)
      const grown = memoryBytes() - settled
      assert.ok(grown < (runs * inputs.byteLength) / 4, `${(grown / 1e6).toFixed(1)} MB`)
      assert.equal(tf.memory().numTensors, warm)
      await network.dispose()
      assert.equal(tf.memory().numTensors, before)
    })
  })
}

test('a network has run before it is loaded, and one that does not run is refused', async () => {
  let runs = 0
  let released = 0
  const raw: RawNetwork = {
    engine: 'onnx',
    inputSize: 4,
    run: async inputs => {
      runs++
      return inputs
    },
    release: async () => void released++,
  }
  const network = await GuardedNetwork.warm(raw)
  assert.ok(runs >= 3, `${runs} runs`)
  assert.equal(released, 0)
  await network.dispose()
  const broken = GuardedNetwork.warm({ ...raw, run: () => Promise.reject(new Error('no such kernel')) })
  await assert.rejects(broken, withCode('ENGINE_LOAD_FAILED', /no such kernel/))
  assert.equal(released, 2)
})

const others = engineNames.filter(engine => !missingEngine(engine))

test('networks of all engines run side by side in one process, beside TF.js code on another backend', async t => {
  await tf.setBackend('cpu')
  const networks: Network[] = []
  const bundle = await loadBundle(fixture('tiny-signal'))
  // Two of each, loaded at once: initialising a backend must not disturb another.
  for (const network of await Promise.all([...others, ...others].map(engine => createEngine(engine).load(bundle)))) {
    t.after(() => network.dispose())
    networks.push(network)
  }
  assert.equal(tf.getBackend(), 'cpu')
  const square = tf.tensor1d([1, 2, 3]).square()
  for (let round = 0; round < 5; round++) await Promise.all(networks.map(network => verifyGolden(network, bundle)))
  assert.equal(tf.getBackend(), 'cpu')
  assert.deepEqual([...square.dataSync()], [1, 4, 9])
})
