import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { chooseEngine, engineNames, loadBundle } from '@faultline/inference'
import { temporaryDirectory } from '../support/temp.ts'
import { copyOf, editDescription, fixture, missingEngine, replaceFile, withCode } from './bundles.ts'

/** A trial program that fails the first engine in a given way and passes the others. */
async function trialThat(t: Parameters<typeof temporaryDirectory>[0], fails: string): Promise<string> {
  const path = join(await temporaryDirectory(t), 'trial.mjs')
  await writeFile(
    path,
    `if (process.argv[3] === 'onnx') { ${fails} } else process.send({ ok: true }, () => process.exit(0))`,
  )
  return path
}

test('the first engine that passes is chosen and no other tried', async () => {
  const bundle = await loadBundle(fixture('tiny-signal'))
  assert.deepEqual(await chooseEngine(bundle), { engine: 'onnx', rejected: [] })
  assert.deepEqual(await chooseEngine(bundle, { order: ['tfjs-wasm', 'onnx'] }), { engine: 'tfjs-wasm', rejected: [] })
})

test('the working directory does not matter', async t => {
  const before = process.cwd()
  t.after(() => process.chdir(before))
  process.chdir('/')
  assert.equal((await chooseEngine(await loadBundle(fixture('tiny-signal')))).engine, 'onnx')
})

test('a damaged network falls to the next engine, with the reason', async t => {
  const directory = await copyOf(t, 'tiny-signal')
  const bytes = await readFile(join(directory, 'network.onnx'))
  await replaceFile(directory, 'onnx', bytes.fill(0xff, 40, 200))
  const { engine, rejected } = await chooseEngine(await loadBundle(directory), { order: ['onnx', 'tfjs-wasm'] })
  assert.equal(engine, 'tfjs-wasm')
  assert.equal(rejected.length, 1)
  assert.equal(rejected[0]!.engine, 'onnx')
  assert.match(rejected[0]!.reason, /^(ENGINE_LOAD_FAILED|BUNDLE_GOLDEN_MISMATCH): /)
})

test('an engine that computes something else than the golden outputs falls to the next', async t => {
  const directory = await copyOf(t, 'tiny-signal')
  const bytes = await readFile(join(directory, 'network.onnx'))
  // The network stays valid; its first weight does not.
  const weight = (await readFile(join(directory, 'weights.bin'))).subarray(0, 4)
  const at = bytes.indexOf(weight)
  assert.ok(at > 0)
  bytes.writeFloatLE(weight.readFloatLE() + 1, at)
  await replaceFile(directory, 'onnx', bytes)
  const { engine, rejected } = await chooseEngine(await loadBundle(directory), { order: ['onnx', 'tfjs-wasm'] })
  assert.equal(engine, 'tfjs-wasm')
  assert.match(rejected[0]!.reason, /^BUNDLE_GOLDEN_MISMATCH: onnx is off by /)
})

test('an engine that does not reproduce the golden outputs is not chosen', async t => {
  const directory = await copyOf(t, 'tiny-signal')
  await editDescription(directory, ({ golden }) => {
    golden.outputs[1]![2]! += 0.01
  })
  await assert.rejects(
    chooseEngine(await loadBundle(directory), { order: ['onnx', 'tfjs-wasm'] }),
    withCode('ENGINE_UNAVAILABLE', /onnx: BUNDLE_GOLDEN_MISMATCH.*row 1.*tfjs-wasm: BUNDLE_GOLDEN_MISMATCH/),
  )
})

for (const signal of ['SIGSEGV', 'SIGILL', 'SIGABRT']) {
  test(`an engine whose process ends with ${signal} is passed over`, async t => {
    const bundle = await loadBundle(fixture('tiny-signal'))
    const { engine, rejected } = await chooseEngine(bundle, {
      order: ['onnx', 'tfjs-wasm'],
      trial: await trialThat(t, `process.kill(process.pid, '${signal}')`),
    })
    assert.equal(engine, 'tfjs-wasm')
    assert.match(rejected[0]!.reason, new RegExp(`the trial ended with ${signal}`))
  })
}

test('an engine that answers and then crashes on the way out is passed over', async t => {
  const bundle = await loadBundle(fixture('tiny-signal'))
  const { rejected } = await chooseEngine(bundle, {
    order: ['onnx', 'tfjs-wasm'],
    trial: await trialThat(t, 'process.send({ ok: true }, () => process.exit(3))'),
  })
  assert.match(rejected[0]!.reason, /exit code 3/)
})

test('an engine that hangs is killed after the timeout', async t => {
  const bundle = await loadBundle(fixture('tiny-signal'))
  // No other engine: the process of its trial might not start in time either, on a busy machine.
  const order = ['onnx'] as const
  await assert.rejects(
    chooseEngine(bundle, { order, timeoutMs: 500, trial: await trialThat(t, 'for (;;);') }),
    withCode('ENGINE_UNAVAILABLE', /onnx: no answer within 500 ms/),
  )
})

test('an engine whose package is missing, or whose format the bundle lacks, is passed over', async t => {
  const directory = await copyOf(t, 'tiny-signal')
  await editDescription(directory, ({ formats }) => {
    delete formats.onnx
  })
  const { engine, rejected } = await chooseEngine(await loadBundle(directory), { order: engineNames })
  assert.match(rejected[0]!.reason, /no network in its format/)
  if (missingEngine('tfjs-node')) {
    assert.equal(engine, 'tfjs-wasm')
    assert.match(rejected[1]!.reason, /^ENGINE_UNAVAILABLE: /)
  } else assert.equal(engine, 'tfjs-node')
})

test('when no engine works the error lists every reason', async t => {
  const bundle = await loadBundle(fixture('tiny-signal'))
  const failing = await trialThat(
    t,
    "process.send({ ok: false, code: 'ENGINE_UNAVAILABLE', message: 'not today' }, () => process.exit(0))",
  )
  await assert.rejects(
    chooseEngine(bundle, { order: ['onnx'], trial: failing }),
    withCode('ENGINE_UNAVAILABLE', /onnx: ENGINE_UNAVAILABLE: not today/),
  )
  await assert.rejects(chooseEngine(bundle, { order: [] }), withCode('ENGINE_UNAVAILABLE'))
})
