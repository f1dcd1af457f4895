import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type ImageExtents, openImages } from '@faultline/inference'
import sharp from 'sharp'
import { dataDirectory, missingImages } from '../support/data.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { withCode } from './bundles.ts'

const tiny: ImageExtents = [1, 2, 3]
const classes = ['red', 'green']

/** A label and two pixels, whose channels lie in planes. */
const record = (label: number, first: number[], second: number[]) => [
  label,
  ...[0, 1, 2].flatMap(channel => [first[channel]!, second[channel]!]),
]

/** A picture of one colour on the left and another on the right. */
const picture = (width: number, height: number, left: number[], right: number[]) =>
  sharp(
    Uint8Array.from({ length: width * height }, (_, i) => i).reduce(
      (pixels, _, i) => {
        pixels.set(i % width < width / 2 ? left : right, 3 * i)
        return pixels
      },
      new Uint8Array(3 * width * height),
    ),
    { raw: { width, height, channels: 3 } },
  )

const write = async (t: TestContext, files: Record<string, Uint8Array>): Promise<string> => {
  const directory = await temporaryDirectory(t)
  for (const [name, bytes] of Object.entries(files)) {
    await mkdir(join(directory, name, '..'), { recursive: true })
    await writeFile(join(directory, name), bytes)
  }
  return directory
}

const pixelsOf = async (set: Awaited<ReturnType<typeof openImages>>, index: number) => [
  ...(await set.read(index)).window.samples,
]

test('batches give pixel after pixel, with the class their label counts', async t => {
  const directory = await write(t, {
    'b.bin': Uint8Array.from(record(0, [1, 2, 3], [4, 5, 6])),
    'a.bin': Uint8Array.from([...record(1, [7, 8, 9], [10, 11, 12]), ...record(0, [0, 0, 0], [255, 255, 255])]),
  })
  const images = await openImages(directory, tiny, classes)
  assert.equal(images.count, 3)
  const { window, class: name } = await images.read(0)
  assert.deepEqual(
    { ...window, samples: [...window.samples] },
    { samples: [7, 8, 9, 10, 11, 12], shape: tiny, rateHz: 0 },
  )
  assert.equal(name, 'green')
  assert.deepEqual(await pixelsOf(images, 2), [1, 2, 3, 4, 5, 6])
  assert.equal((await openImages(join(directory, 'b.bin'), tiny, classes)).count, 1)
})

test('a batch with a piece missing, or a label that no class has, is refused', async t => {
  const whole = record(2, [1, 2, 3], [4, 5, 6])
  const directory = await write(t, {
    'short.bin': Uint8Array.from(whole.slice(1)),
    'label.bin': Uint8Array.from(whole),
  })
  const open = (name: string) => openImages(join(directory, name), tiny, classes)
  await assert.rejects(open('short.bin'), withCode('RECORDING_INVALID', /6 bytes, no multiple of 7/))
  const images = await open('label.bin')
  await assert.rejects(images.read(0), withCode('RECORDING_INVALID', /label 2, but 2 classes/))
})

test('pictures of any format and size are brought to the size the model takes', async t => {
  const [left, right] = [
    [200, 10, 30],
    [20, 180, 90],
  ]
  const large = picture(60, 40, left, right)
  const directory = await write(t, {
    'a.png': await large.png().toBuffer(),
    'b.jpg': await large.jpeg({ quality: 100, chromaSubsampling: '4:4:4' }).toBuffer(),
    'c.webp': await large.webp({ lossless: true }).toBuffer(),
    'd.raw': Uint8Array.from([...left, ...right]),
    'notes.txt': Uint8Array.of(1),
  })
  const images = await openImages(directory, tiny, classes)
  assert.equal(images.count, 4)
  for (let i = 0; i < 4; i++) {
    const { window, class: name } = await images.read(i)
    assert.equal(name, undefined)
    for (const [at, value] of [...left, ...right].entries())
      assert.ok(Math.abs(window.samples[at]! - value) <= 30, `image ${i}: ${[...window.samples]}`)
  }
})

test('a picture becomes grey for a model of one channel, and grey becomes colours for one of three', async t => {
  const directory = await write(t, {
    'colour.png': await picture(8, 8, [200, 200, 200], [50, 50, 50]).png().toBuffer(),
    'grey.png': await picture(8, 8, [200, 200, 200], [50, 50, 50]).toColourspace('b-w').png().toBuffer(),
    'see-through.png': await picture(8, 8, [200, 200, 200], [50, 50, 50]).ensureAlpha(0.5).png().toBuffer(),
  })
  for (const channels of [1, 3]) {
    const images = await openImages(directory, [1, 2, channels], classes)
    for (let i = 0; i < 3; i++) {
      const values = await pixelsOf(images, i)
      assert.equal(values.length, 2 * channels)
      for (const [at, value] of values.entries())
        assert.ok(Math.abs(value - (at < channels ? 200 : 50)) <= 15, `${values}`)
    }
  }
})

test('directories are classes, and take turns', async t => {
  const raw = (value: number) => new Uint8Array(6).fill(value)
  const directory = await write(t, {
    'red/1.raw': raw(1),
    'red/2.raw': raw(2),
    'red/3.raw': raw(3),
    'green/9.raw': raw(9),
  })
  const images = await openImages(directory, tiny, classes)
  const shown = await Promise.all(
    [0, 1, 2, 3].map(async i => [(await images.read(i)).class, (await pixelsOf(images, i))[0]]),
  )
  assert.deepEqual(shown, [
    ['green', 9],
    ['red', 1],
    ['red', 2],
    ['red', 3],
  ])
})

test('what is no image is refused by name', async t => {
  const png = await picture(8, 8, [1, 1, 1], [2, 2, 2]).png().toBuffer()
  const directory = await write(t, {
    'text.png': Buffer.from('not a picture'),
    'torn.png': png.subarray(0, png.length - 30),
    'wide.raw': new Uint8Array(7),
  })
  const images = await openImages(directory, tiny, classes)
  for (const [i, name] of ['text.png', 'torn.png', 'wide.raw'].entries())
    await assert.rejects(images.read(i), withCode('RECORDING_INVALID', new RegExp(name)))
  await assert.rejects(
    (await openImages(directory, [1, 2, 4], classes)).read(0),
    withCode('RECORDING_INVALID', /4 channels/),
  )
  await assert.rejects(openImages(await write(t, {}), tiny, classes), withCode('RECORDING_UNREADABLE', /holds no/))
  await assert.rejects(openImages(join(directory, 'none'), tiny, classes), withCode('RECORDING_UNREADABLE'))
})

test('CIFAR-10 is read as its makers wrote it', { skip: missingImages() }, async () => {
  const file = join(dataDirectory, 'cifar10', 'test_batch.bin')
  const names = (await readFile(join(dataDirectory, 'cifar10', 'batches.meta.txt'), 'utf8')).trim().split('\n')
  const images = await openImages(file, [32, 32, 3], names)
  assert.equal(images.count, 10_000)
  const first = await Promise.all(Array.from({ length: 6 }, async (_, i) => (await images.read(i)).class))
  assert.deepEqual(first, ['cat', 'ship', 'ship', 'airplane', 'frog', 'frog'])
  // Red, green and blue of the first pixel of the first image, as every reader of the set shows them.
  assert.deepEqual((await pixelsOf(images, 0)).slice(0, 3), [158, 112, 49])
})
