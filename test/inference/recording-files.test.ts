import assert from 'node:assert/strict'
import { copyFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { readRecordingFile } from '@faultline/inference'
import { temporaryDirectory } from '../support/temp.ts'
import { wav } from './waves.ts'

const fixtures = join(import.meta.dirname, 'fixtures')

/** No name says what the file is. */
async function fileOf(t: TestContext, content: Buffer): Promise<string> {
  const path = join(await temporaryDirectory(t), 'take 7')
  await writeFile(path, content)
  return path
}

const codings: [what: string, format: { tag: number; bits: number }, write: (value: number) => Buffer][] = [
  ['16 bits', { tag: 1, bits: 16 }, value => bytes(2, (at, to) => to.writeInt16LE(value * 2 ** 15, at))],
  ['24 bits', { tag: 1, bits: 24 }, value => bytes(3, (at, to) => to.writeIntLE(value * 2 ** 23, at, 3))],
  ['32 bits', { tag: 1, bits: 32 }, value => bytes(4, (at, to) => to.writeInt32LE(value * 2 ** 31, at))],
  ['floats', { tag: 3, bits: 32 }, value => bytes(4, (at, to) => to.writeFloatLE(value, at))],
  ['doubles', { tag: 3, bits: 64 }, value => bytes(8, (at, to) => to.writeDoubleLE(value, at))],
]
function bytes(length: number, write: (at: number, to: Buffer) => void): Buffer {
  const buffer = Buffer.alloc(length)
  write(0, buffer)
  return buffer
}

for (const [what, format, write] of codings)
  for (const more of [{}, { extensible: true }, { rf64: true }, { extensible: true, rf64: true }])
    test(`the eighth channel of a WAV file of ${what} is read ${JSON.stringify(more)}`, async t => {
      const frames = [0.25, -0.5].map(value => Array.from({ length: 8 }, (_, i) => write(i === 7 ? value : 0.125)))
      const content = wav({ ...format, channels: 8, rateHz: 51_200, ...more }, Buffer.concat(frames.flat()))
      const { samples, rateHz } = await readRecordingFile(await fileOf(t, content), { column: 7 })
      assert.deepEqual([...samples], [0.25, -0.5])
      assert.equal(rateHz, 51_200)
    })

test('a channel of a WAV file has to be named where there are several, and the file knows its rate', async t => {
  const stereo = wav({ tag: 1, bits: 16, channels: 2, rateHz: 25_600 }, Buffer.alloc(8))
  await assert.rejects(readRecordingFile(await fileOf(t, stereo)), {
    code: 'RECORDING_INVALID',
    message: /several channels.*0, 1/,
  })
  await assert.rejects(readRecordingFile(await fileOf(t, stereo), { column: 2 }), { message: /no channel 2.*0, 1/ })
  await assert.rejects(readRecordingFile(await fileOf(t, stereo), { column: 0, rateHz: 12_000 }), {
    message: /25600 Hz.*12000 Hz/,
  })
  const mono = wav({ tag: 1, bits: 16, channels: 1, rateHz: 25_600 }, Buffer.alloc(8))
  assert.equal((await readRecordingFile(await fileOf(t, mono))).samples.length, 4)
})

test('a WAV file that is damaged or of another coding is refused', async t => {
  const refused = async (content: Buffer, message: RegExp) =>
    assert.rejects(readRecordingFile(await fileOf(t, content), { column: 0 }), { code: 'RECORDING_INVALID', message })
  await refused(wav({ tag: 85, bits: 16, channels: 1, rateHz: 1 }, Buffer.alloc(2)), /format 85 with 16 bits/)
  await refused(wav({ tag: 1, bits: 16, channels: 0, rateHz: 1 }, Buffer.alloc(2)), /damaged format/)
  await refused(wav({ tag: 1, bits: 16, channels: 1, rateHz: 1 }, Buffer.alloc(2)).subarray(0, 30), /damaged format/)
  await refused(Buffer.from('RIFF\0\0\0\0WAVE'), /no samples/)
})

test('a variable of a MATLAB file is chosen by name, those in structures too, and the file says its rate', async t => {
  const path = join(await temporaryDirectory(t), 'own.mat')
  await copyFile(join(fixtures, 'own.mat'), path)
  await assert.rejects(readRecordingFile(path), {
    code: 'RECORDING_INVALID',
    message: /several variables.*"vibration".*"bearing\.gs".*"wide"/,
  })
  await assert.rejects(readRecordingFile(path, { variable: 'x' }), { message: /no variable "x".*"vibration"/ })
  const ramp = Array.from({ length: 64 }, (_, i) => i / 64)
  const vector = await readRecordingFile(path, { variable: 'bearing.gs' })
  assert.deepEqual([...vector.samples], ramp)
  assert.equal(vector.rateHz, 48_828)
  // Two signals in columns, and the same in rows.
  for (const variable of ['vibration', 'wide']) {
    await assert.rejects(readRecordingFile(path, { variable }), { message: /several columns/ })
    const { samples } = await readRecordingFile(path, { variable, column: 1 })
    assert.deepEqual(
      [...samples],
      ramp.map(value => -value),
    )
  }
  const single = join(fixtures, 'plain.mat')
  assert.equal((await readRecordingFile(single)).samples.length, 64)
})
