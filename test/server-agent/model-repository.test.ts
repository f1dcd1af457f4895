import assert from 'node:assert/strict'
import { cp, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createSigningKey, loadBundle, signBundle } from '@faultline/inference'
import { encodeWindow } from '@faultline/protocol'
import { createLogger } from '@faultline/runtime'
import { ProcessHost } from '@faultline/server-agent'
import { isRefused } from '../../server-agent/job.ts'
import { root } from '../support/processes.ts'

const task = 'bearing-fault'

type Description = { version: string; task: string; role: string; golden: { outputs: number[][] } }

/** A directory of bundles, which a test adds to. */
class Repository {
  readonly key = createSigningKey()
  readonly directory: string

  constructor(directory: string) {
    this.directory = directory
  }

  /** Puts the shipped server model there under another version, whole at once as a careful person does. */
  async put(path: string, version: string, edit: (description: Description) => void = () => {}, sign = true) {
    const directory = join(this.directory, path)
    const draft = `${directory}.draft`
    await rm(directory, { recursive: true, force: true })
    await cp(join(root, 'models/bearing-server'), draft, { recursive: true })
    const file = join(draft, 'bundle.json')
    const description = JSON.parse(await readFile(file, 'utf8')) as Description
    description.version = version
    edit(description)
    await writeFile(file, JSON.stringify(description))
    if (sign) await signBundle(await loadBundle(draft), this.key.privateKey)
    await rename(draft, directory)
  }

  async remove(path: string): Promise<void> {
    await rm(join(this.directory, path), { recursive: true })
  }
}

const pinned = 'gear-fault'
const ofPinned = (description: Description) => {
  description.task = pinned
}

let directory: string
let bundles: Repository
let host: ProcessHost
const saysTo = () => join(directory, 'server.log')

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'faultline-repository-'))
  bundles = new Repository(join(directory, 'models'))
  await mkdir(bundles.directory)
  await bundles.put('gearbox/one', '1.0.0', ofPinned)
  await bundles.put('gearbox/two', '2.0.0', ofPinned)
  await bundles.put('gearbox/three', '3.0.0', ofPinned)
  host = new ProcessHost({
    directories: [bundles.directory],
    routes: {
      [task]: { answer: 'newest', shadow: 'newest' },
      [pinned]: { answer: 'bearing-server:2.0.0', shadow: 'bearing-server:1.0.0' },
      'pump-fault': { answer: 'pump-server:1.0.0' },
    },
    trusted: [bundles.key.publicKey],
    engine: 'onnx',
    workers: 1,
    maxBatch: 1,
    watchIntervalMs: 1e9,
    backOff: { initialMs: 1, maximumMs: 10 },
    logger: createLogger('server-agent', { level: 'info', file: saysTo() }),
  })
  await host.start()
})
after(async () => {
  await host.stop()
  await rm(directory, { recursive: true, force: true })
})

const versionsOf = (asked: string) => ({
  answer: host.models.get(asked)?.model.version,
  shadow: host.shadows.get(asked)?.model.version,
})

const window = encodeWindow({
  samples: Float32Array.from({ length: 2_048 }, (_, i) => Math.sin(i)),
  shape: [2_048],
  rateHz: 12_000,
})

async function answers(role: 'answer' | 'shadow'): Promise<boolean> {
  const [worker, models] = role === 'answer' ? [host.workers[0], host.models] : [host.shadowWorker, host.shadows]
  const { results } = await worker!.classify(models.get(task)!.model.digest, [{ window, shaftHz: 29.5 }])
  return !isRefused(results[0]!)
}

const reversed = ({ golden }: Description) => golden.outputs.reverse()

test('the newest version that is signed and gives its golden answers serves, as versions appear and disappear', async () => {
  const versions = async () => {
    await host.check()
    return versionsOf(task)
  }
  assert.deepEqual(await versions(), { answer: undefined, shadow: undefined }, 'nothing is there yet')

  // By a link, which some change in one go.
  await bundles.put('../nine-of-yesterday', '1.9.0')
  await symlink('../nine-of-yesterday', join(bundles.directory, 'nine'))
  assert.deepEqual(await versions(), { answer: '1.9.0', shadow: undefined })

  // By number, not by letter; and the one before is asked beside it.
  await bundles.put('bearing/1.10.0', '1.10.0')
  assert.deepEqual(await versions(), { answer: '1.10.0', shadow: '1.9.0' })
  assert.ok((await answers('answer')) && (await answers('shadow')))

  await bundles.put('unsigned', '2.0.0', () => {}, false)
  await bundles.put('wrong', '3.0.0', reversed)
  await bundles.put('local', '4.0.0', description => {
    description.role = 'local'
  })
  assert.deepEqual(await versions(), { answer: '1.10.0', shadow: '1.9.0' }, 'no other one is good')

  // What is put in the place of one that serves takes over only when it is good.
  await bundles.put('bearing/1.10.0', '1.11.0', reversed)
  assert.deepEqual(await versions(), { answer: '1.10.0', shadow: '1.9.0' })
  // What serves is there again after a crash, though it lies in the directory no more.
  const [worker] = host.workers
  const back = new Promise<void>(resolve => host.onChange(() => worker!.ready && resolve()))
  process.kill(worker!.pid!, 'SIGKILL')
  await back
  assert.ok(await answers('answer'))

  await bundles.put('bearing/1.10.0', '1.8.0')
  assert.deepEqual(await versions(), { answer: '1.9.0', shadow: '1.8.0' })
  assert.ok((await answers('answer')) && (await answers('shadow')))

  await bundles.remove('nine')
  assert.deepEqual(await versions(), { answer: '1.9.0', shadow: '1.8.0' }, 'it may be about to be replaced')
  assert.deepEqual(await versions(), { answer: '1.8.0', shadow: undefined })
  await bundles.remove('bearing/1.10.0')
  await host.check()
  assert.deepEqual(await versions(), { answer: undefined, shadow: undefined })

  const said = (await readFile(saysTo(), 'utf8')).split('\n').filter(line => line.includes('a bundle is not served'))
  const codes = said.map(line => JSON.parse(line).code as string).sort()
  // Each once, however often it was looked at.
  assert.deepEqual(codes, ['BUNDLE_GOLDEN_MISMATCH', 'BUNDLE_GOLDEN_MISMATCH', 'BUNDLE_UNSIGNED'])
})

test('a route pins what answers and what is asked in shadow, and no other model stands in for it', async () => {
  assert.deepEqual(versionsOf(pinned), { answer: '2.0.0', shadow: '1.0.0' })
  assert.equal(host.models.has('pump-fault'), false)
  await bundles.put('gearbox/four', '4.0.0', ofPinned)
  await bundles.put('gearbox/two', '5.0.0', ofPinned)
  await host.check()
  assert.deepEqual(versionsOf(pinned), { answer: '2.0.0', shadow: '1.0.0' }, 'it stays until it is taken away')
  await bundles.remove('gearbox/two')
  await host.check()
  await host.check()
  assert.deepEqual(versionsOf(pinned), { answer: undefined, shadow: '1.0.0' })
})
