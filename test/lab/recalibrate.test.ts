import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type BundleDescription, createSigningKey, loadBundle, readSignature, signBundle } from '@faultline/inference'
import { recalibrate } from '../../lab/recalibrate.ts'
import { withCode } from '../inference/bundles.ts'
import { runCommand } from '../support/command.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { writeTinyPair } from './images.ts'

const PLANE = 16
/** Images of one colour; the local model takes blue (2) for red (0). */
const batch = (images: readonly (readonly [label: number, colour: number])[]) =>
  Buffer.from(
    images.flatMap(([label, colour]) => [
      label,
      ...Array.from({ length: 3 * PLANE }, (_, i) => (Math.floor(i / PLANE) === colour ? 255 : 0)),
    ]),
  )
const many = <T>(count: number, item: T): T[] => Array.from({ length: count }, () => item)

/** A pair, and images of which the server knows 45 of 60 blue ones better; the other 15 are red ones that look blue. */
async function pair(t: TestContext) {
  const directory = await temporaryDirectory(t)
  await writeTinyPair(directory)
  const data = join(directory, 'held-out.bin')
  await writeFile(
    data,
    batch([...many(60, [0, 0] as const), ...many(45, [2, 2] as const), ...many(15, [0, 2] as const)]),
  )
  return { directory, data, local: join(directory, 'image-local'), server: join(directory, 'image-server') }
}

async function describe(bundle: string, change: (description: BundleDescription) => void): Promise<void> {
  const path = join(bundle, 'bundle.json')
  const description = JSON.parse(await readFile(path, 'utf8')) as BundleDescription
  change(description)
  await writeFile(path, JSON.stringify(description))
}

test('a pair is calibrated again without training: the bundle says how far its server is to be believed', async t => {
  const { data, local, server } = await pair(t)
  const before = await loadBundle(local)
  await signBundle(before, createSigningKey().privateKey)
  const run = await runCommand('lab/models.ts', ['calibrate', local, '--server', server, '--data', data])
  assert.equal(run.code, 0, run.stderr)
  assert.match(run.stdout, /differ on 60 of 120 windows/)
  const after = await loadBundle(local)
  const { calibration, formats, training } = after.description
  assert.equal(calibration.server!.contradictions, 60)
  assert.equal(calibration.server!.model, (await loadBundle(server)).digest)
  assert.equal(calibration.correctness!.samples, 120)
  assert.equal(calibration.temperature, before.description.calibration.temperature)
  assert.deepEqual([formats, training], [before.description.formats, before.description.training])
  // The signature was of another description.
  assert.equal(await readSignature(after), undefined)
})

test('a bundle that names its validation side is calibrated on that alone', async t => {
  const { directory, local, server, data } = await pair(t)
  const part = { recording: 'data_batch_1.bin data_batch_2.bin', class: 'all', from: 30, to: 150 }
  for (const bundle of [local, server]) await describe(bundle, ({ training }) => training.split.validation.push(part))
  await writeFile(join(directory, 'data_batch_1.bin'), batch(many(30, [1, 1])))
  await writeFile(join(directory, 'data_batch_2.bin'), await readFile(data))
  const { windows, contradictions, changed } = await recalibrate(local, server, directory)
  assert.deepEqual([windows, contradictions, changed], [120, 60, true])
})

test('a bundle stays as it was where the two seldom differ, or were not held out alike', async t => {
  const { local, server, data } = await pair(t)
  const before = await readFile(join(local, 'bundle.json'))
  await writeFile(data, batch([...many(60, [0, 0] as const), ...many(49, [2, 2] as const)]))
  const run = await runCommand('lab/models.ts', ['calibrate', local, '--server', server, '--data', data])
  assert.notEqual(run.code, 0)
  assert.match(run.stderr, /RECORDING_INVALID.*differ on 49 of 109 windows, and 50 are needed/)
  assert.deepEqual(await readFile(join(local, 'bundle.json')), before)
  await describe(server, ({ training }) => training.split.validation.push({ recording: 'other.bin', class: 'all' }))
  await assert.rejects(recalibrate(local, server, data), withCode('BUNDLE_INVALID', /held out/))
})
