import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createSource, sourceConfig } from '@faultline/device-agent'
import { readRecordingFile } from '../../device-agent/sources/recording-file.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { testSource } from './source-suite.ts'

async function fileOf(t: TestContext, name: string, content: string | Buffer): Promise<string> {
  const path = join(await temporaryDirectory(t), name)
  await writeFile(path, content)
  return path
}

const options = { column: 0, scale: 1, rateHz: 12_000 }

/** As WAVE files are: the format, a chunk of something else with an odd length, the samples. */
function wav(
  { tag, bits, channels, rateHz }: Record<'tag' | 'bits' | 'channels' | 'rateHz', number>,
  data: Buffer,
): Buffer {
  const format = Buffer.alloc(24)
  format.write('fmt ', 'latin1')
  format.writeUInt32LE(16, 4)
  format.writeUInt16LE(tag, 8)
  format.writeUInt16LE(channels, 10)
  format.writeUInt32LE(rateHz, 12)
  format.writeUInt16LE(bits, 22)
  const chunk = (name: string, bytes: Buffer) => {
    const head = Buffer.alloc(8)
    head.write(name, 'latin1')
    head.writeUInt32LE(bytes.byteLength, 4)
    return Buffer.concat([head, bytes, Buffer.alloc(bytes.byteLength % 2)])
  }
  const body = Buffer.concat([Buffer.from('WAVE'), format, chunk('LIST', Buffer.from('odd')), chunk('data', data)])
  return chunk('RIFF', body)
}

testSource({
  name: 'file',
  create: async (intervalMs, t) => {
    const file = await fileOf(t, 'a.csv', Array.from({ length: 40 * 64 }, (_, i) => i).join('\n'))
    const config = sourceConfig.parse({ kind: 'file', file, speed: 64 / intervalMs })
    return createSource(config, { samples: 64, rateHz: 1_000 })
  },
})

test('a channel of a WAV file comes in its unit and at its rate, whatever its format', async t => {
  const pcm = Buffer.alloc(8)
  for (const [i, value] of [1, -16_384, 2, 8_192].entries()) pcm.writeInt16LE(value, 2 * i)
  const path = await fileOf(t, 'a.WAV', wav({ tag: 1, bits: 16, channels: 2, rateHz: 25_600 }, pcm))
  const { samples, rateHz } = await readRecordingFile(path, { ...options, column: 1, scale: 50 })
  assert.equal(rateHz, 25_600)
  assert.deepEqual([...samples], [-25, 12.5])
  const float = Buffer.alloc(4)
  float.writeFloatLE(0.25)
  const other = await fileOf(t, 'b.wav', wav({ tag: 3, bits: 32, channels: 1, rateHz: 12_000 }, float))
  assert.deepEqual([...(await readRecordingFile(other, options)).samples], [0.25])
})

test('a column of a CSV file is found by name or number, and what is no number is NaN', async t => {
  const path = await fileOf(t, 'a.csv', '# press\ntime;"accel; z"\n0;1.5\n1;\n2;-2\n')
  const byName = await readRecordingFile(path, { ...options, column: 'accel; z', scale: 2 })
  assert.deepEqual([...byName.samples], [3, Number.NaN, -4])
  const plain = await fileOf(t, 'b.csv', '1,2\n3,4\n')
  assert.deepEqual([...(await readRecordingFile(plain, { ...options, column: 1 })).samples], [2, 4])
})

test('a file that is not what it is taken for is refused by name', async t => {
  const refused = async (name: string, content: string | Buffer, message: RegExp, more = {}) =>
    assert.rejects(readRecordingFile(await fileOf(t, name, content), { ...options, ...more }), { message })
  await refused('a.wav', 'no', /a\.wav: is no WAV file/)
  await refused('a.wav', wav({ tag: 85, bits: 16, channels: 1, rateHz: 1 }, Buffer.alloc(2)), /format 85/)
  await refused('a.wav', wav({ tag: 1, bits: 16, channels: 1, rateHz: 1 }, Buffer.alloc(2)), /1 channels/, {
    column: 1,
  })
  await refused('a.csv', 'x,y\n1,2\n', /no column "z"/, { column: 'z' })
  await refused('a.ogg', '', /\.wav or \.csv/)
})
