import assert from 'node:assert/strict'
import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { createSigningKey, loadBundle, signBundle } from '@faultline/inference'
import { encodeWindow } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { ProcessHost } from '@faultline/server-agent'
import { isRefused } from '../../server-agent/job.ts'
import { root } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'

const task = 'bearing-fault'

test('a bundle takes the place of another once it is signed and has shown its golden answers, and not before', async t => {
  const directory = join(await temporaryDirectory(t), 'model')
  await cp(join(root, 'models/bearing-server'), directory, { recursive: true })
  const { publicKey, privateKey } = createSigningKey()
  await signBundle(await loadBundle(directory), privateKey)
  const host = new ProcessHost({
    directories: [directory],
    engine: 'onnx',
    workers: 1,
    trusted: [publicKey],
    maxBatch: 2,
    backOff: { initialMs: 1, maximumMs: 10 },
    logger: silentLogger,
  })
  t.after(() => host.stop())
  await host.start()
  const version = () => host.models.get(task)!.model.version
  const [worker] = host.workers
  const window = encodeWindow({
    samples: Float32Array.from({ length: 2_048 }, (_, i) => Math.sin(i)),
    shape: [2_048],
    rateHz: 12_000,
  })
  const works = async () => {
    const { results } = await worker!.classify(host.models.get(task)!.model.digest, [{ window, shaftHz: 29.5 }])
    return !isRefused(results[0]!)
  }
  type Description = { version: string; golden: { outputs: number[][] } }
  const change = async (edit: (description: Description) => void, sign = true) => {
    const file = join(directory, 'bundle.json')
    const description = JSON.parse(await readFile(file, 'utf8')) as Description
    edit(description)
    await writeFile(file, JSON.stringify(description))
    if (sign) await signBundle(await loadBundle(directory), privateKey)
    await host.check()
  }
  const first = version()

  await change(description => {
    description.version = '1.1.0'
  }, false)
  assert.equal(version(), first, 'its signature is of the one before')

  await change(description => {
    description.golden.outputs.reverse()
  })
  assert.equal(version(), first, 'it does not give its golden answers')

  // What is served is there again after a crash, though it lies in the directory no more.
  const back = new Promise<void>(resolve => host.onChange(() => worker!.ready && resolve()))
  process.kill(worker!.pid!, 'SIGKILL')
  await back
  assert.ok(await works())
  assert.equal(version(), first)

  await change(description => {
    description.golden.outputs.reverse()
  })
  assert.equal(version(), '1.1.0')
  assert.ok(await works())
})
