import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createSigningKey, FaultlineError, type UpdateOffer } from '@faultline/protocol'
import { bundlePath } from '../../device-agent/updates/bundle-subject.ts'
import { temporaryDirectory } from '../support/temp.ts'
import {
  FailingDisk,
  type Offered,
  offered,
  terms,
  tinyBundle,
  UpdatedDevice,
  type UpdatedDeviceOptions,
} from '../support/updates.ts'

/** A device with one version of the tiny model, and a newer one that it is offered. */
async function scene(t: TestContext, change?: (description: Record<string, unknown>) => void) {
  const configured = await tinyBundle(t)
  const newer = (description: Record<string, unknown>) => {
    description.version = '2.0.0'
    change?.(description)
  }
  const next = await offered(t, await tinyBundle(t, newer))
  const directory = await temporaryDirectory(t)
  const archives = new Map([[next.offer.id, next.archive]])
  const device = (options: Partial<UpdatedDeviceOptions> = {}) =>
    new UpdatedDevice({ directory, configured, archives, ...options })
  return { device, next, directory, archives }
}

const states = (device: UpdatedDevice) => [...new Set(device.statuses.map(({ state }) => state))]

test('an update goes its way: fetched, verified, tried, on probation, done', async t => {
  const { device: make, next } = await scene(t)
  const device = await make().start(t)
  const before = device.running
  await device.offer(next.offer)
  assert.equal(device.state, 'probation')
  assert.notEqual(before, next.offer.digest)
  assert.equal(device.running, next.offer.digest)
  await device.infer(3)
  assert.deepEqual(states(device), ['downloading', 'verifying', 'trying', 'switching', 'probation', 'done'])
  const last = device.statuses.at(-1)!
  assert.deepEqual({ windows: last.probation?.windows, audits: last.probation?.audits }, { windows: 3, audits: 3 })
  const again = await make().start(t)
  assert.equal(again.running, next.offer.digest)
})

test('the power may be cut before any change to the disk: the device runs one of the two versions, and ends on the new one', async t => {
  const configured = await tinyBundle(t)
  const next = await offered(t, await tinyBundle(t, description => Object.assign(description, { version: '2.0.0' })))
  const archives = new Map([[next.offer.id, next.archive]])
  const first = new UpdatedDevice({ directory: await temporaryDirectory(t), configured, archives })
  const old = (await first.start(t)).running
  let cuts = 0
  for (let whole = false; !whole; cuts++) {
    const directory = await temporaryDirectory(t)
    const disk = new FailingDisk(cuts)
    await cutOff(new UpdatedDevice({ directory, configured, archives, disk }), next, t)
    whole = !disk.dead
    const device = new UpdatedDevice({ directory, configured, archives })
    await device.start(t)
    assert.ok([old, next.offer.digest].includes(device.running), `neither version runs after: ${disk.changes.at(-1)}`)
    await live(device, next)
    assert.equal(device.state, 'done', `${device.error?.message} after: ${disk.changes.at(-1)}`)
    assert.equal(device.running, next.offer.digest)
  }
  assert.ok(cuts > 20, `the update changed the disk ${cuts} times`)
})

test('the power may be cut before any change while an update falls: the device ends on the version before', async t => {
  const configured = await tinyBundle(t)
  const next = await offered(t, await tinyBundle(t, description => Object.assign(description, { version: '2.0.0' })))
  const archives = new Map([[next.offer.id, next.archive]])
  const first = new UpdatedDevice({ directory: await temporaryDirectory(t), configured, archives })
  const old = (await first.start(t)).running
  for (let cuts = 0, whole = false; !whole; cuts++) {
    const directory = await temporaryDirectory(t)
    const disk = new FailingDisk(cuts)
    await cutOff(new UpdatedDevice({ directory, configured, archives, disk }), next, t, { agrees: false })
    whole = !disk.dead
    const device = new UpdatedDevice({ directory, configured, archives })
    await device.start(t)
    await live(device, next, { agrees: false })
    assert.equal(device.state, 'rolled-back', `after: ${disk.changes.at(-1)}`)
    assert.equal(device.running, old)
  }
})

/** The life of a device up to a power cut, which may come before its start is over. */
async function cutOff(
  device: UpdatedDevice,
  next: Offered,
  t: TestContext,
  server?: { agrees: boolean },
): Promise<void> {
  const started = await device.start(t).catch(() => undefined)
  if (started) await live(device, next, server)
}

/** From where it is to the end, as far as the power lasts. */
async function live(device: UpdatedDevice, { offer }: Offered, server = { agrees: true }): Promise<void> {
  await device.offer({ ...offer, probation: { ...terms, windows: 12 } })
  await device.infer(12, server)
}

test('a download goes on where it was left', async t => {
  const { device: make, next } = await scene(t)
  const half = next.archive.byteLength >> 1
  const first = await make().start(t)
  first.carry = ({ id, offset }) =>
    first.updater.chunk({ id, offset, bytes: new Uint8Array(next.archive.subarray(0, half)) })
  await first.offer(next.offer)
  assert.equal(first.state, 'downloading')
  const second = make()
  await second.start(t)
  await second.updater.settled()
  assert.equal(second.requests[0]?.offset, half)
  assert.equal(second.state, 'probation')
})

test('a connection that comes back has the download go on at once', async t => {
  const { device: make, next } = await scene(t)
  const device = await make().start(t)
  device.carry = ({ id }) => {
    device.carry = () => {}
    device.updater.chunk({ id, offset: 0, bytes: Uint8Array.from(next.archive.subarray(0, 100)) })
  }
  await device.offer(next.offer)
  device.updater.disconnected()
  device.carry = request => device.deliver(request)
  device.connect()
  await device.updater.settled()
  assert.deepEqual(
    device.requests.map(({ offset }) => offset),
    [0, 100],
  )
  assert.equal(device.state, 'probation')
})

test('chunks that come twice or out of order are passed over', async t => {
  const { device: make, next } = await scene(t)
  const device = await make().start(t)
  const { id } = next.offer
  const piece = (from: number, to: number) => ({
    id,
    offset: from,
    bytes: new Uint8Array(next.archive.subarray(from, to)),
  })
  device.carry = () => {
    for (const [from, to] of [
      [0, 100],
      [0, 100],
      [200, 300],
      [100, next.archive.byteLength],
      [0, 100],
    ] as const)
      device.updater.chunk(piece(from, to))
  }
  await device.offer(next.offer)
  assert.equal(device.state, 'probation')
})

test('a chunk that was tampered with costs a second download, and a second one the update', async t => {
  const { device: make, next } = await scene(t)
  const flip = (chunk: Uint8Array<ArrayBuffer>) => {
    chunk[chunk.byteLength >> 1]! ^= 1
    return chunk
  }
  const once = await make().start(t)
  once.carry = request => once.deliver(request, once.requests.length === 1 ? flip : undefined)
  await once.offer(next.offer)
  assert.equal(once.requests.length, 2)
  assert.equal(once.state, 'probation')
  const { device: other, next: same } = await scene(t)
  const always = await other().start(t)
  always.carry = request => always.deliver(request, flip)
  await always.offer(same.offer)
  assert.deepEqual([always.state, always.error?.code, always.requests.length], ['failed', 'UPDATE_DAMAGED', 2])
})

/** What becomes of an offer that is changed, before anything is fetched. */
async function refused(t: TestContext, change: Partial<UpdateOffer>, trusted?: string[]) {
  const { device: make, next } = await scene(t)
  const device = await make(trusted && { trusted }).start(t)
  await device.offer({ ...next.offer, ...change } as UpdateOffer)
  assert.deepEqual([device.state, device.requests.length], ['failed', 0])
  return device.error!
}

test('what is not signed for by somebody trusted is refused before it is fetched', async t => {
  const digest = `sha256:${'0'.repeat(64)}`
  assert.match((await refused(t, { digest })).message, /not of what is offered/)
  assert.match((await refused(t, {}, [createSigningKey().publicKey])).message, /not trusted/)
  assert.equal((await refused(t, {}, [])).code, 'UPDATE_REFUSED')
})

test('a model of another task is refused before it is fetched', async t => {
  assert.equal((await refused(t, { task: 'gear-fault' })).code, 'UPDATE_INCOMPATIBLE')
})

for (const [what, change, words] of [
  ['other classes', ({ classes }) => classes.splice(1, 1, 'crack'), /classes are .*crack/],
  ['another sample rate', ({ input }) => Object.assign(input, { rateHz: 48_000 }), /48000 Hz/],
] as [string, (description: { classes: string[]; input: object }) => void, RegExp][]) {
  test(`a model with ${what} is refused before it is tried`, async t => {
    const { device: make, next } = await scene(t, description => change(description as never))
    let tried = false
    const choose = async () => {
      tried = true
      return { engine: 'onnx' as const, rejected: [] }
    }
    const device = await make({ choose }).start(t)
    const before = device.running
    await device.offer(next.offer)
    assert.deepEqual([device.state, device.error?.code, tried], ['failed', 'UPDATE_INCOMPATIBLE', false])
    assert.match(device.error!.message, words)
    assert.equal(device.running, before)
  })
}

test('an archive that holds another model than was offered is refused', async t => {
  const { device: make, next, archives } = await scene(t)
  const other = await offered(t, await tinyBundle(t, description => Object.assign(description, { version: '3.0.0' })))
  archives.set(next.offer.id, other.archive)
  const device = await make().start(t)
  await device.offer({ ...next.offer, archive: other.offer.archive })
  assert.deepEqual([device.state, device.error?.code], ['failed', 'UPDATE_DAMAGED'])
})

test('a model that fails its trial never runs, and nothing of it is left', async t => {
  const { device: make, next, directory } = await scene(t)
  const device = make({
    choose: async () => {
      throw new FaultlineError('BUNDLE_GOLDEN_MISMATCH', 'onnx is off by 0.4')
    },
  })
  await device.start(t)
  await device.offer(next.offer)
  assert.deepEqual([device.state, device.error?.code], ['failed', 'BUNDLE_GOLDEN_MISMATCH'])
  assert.ok(!states(device).includes('probation'))
  await assert.rejects(rm(bundlePath(join(directory, 'models'), next.offer.digest)), { code: 'ENOENT' })
})

test('a model that servers contradict more often than it may is taken back', async t => {
  const { device: make, next } = await scene(t)
  const device = await make().start(t)
  const before = device.running
  await device.offer({ ...next.offer, probation: { ...terms, windows: 100 } })
  await device.infer(20)
  assert.equal(device.state, 'probation')
  await device.infer(20, { agrees: false })
  assert.deepEqual([device.state, device.error?.code], ['rolled-back', 'UPDATE_PROBATION_FAILED'])
  assert.match(device.error!.message, /servers contradict \d+ of \d+ audited windows/)
  assert.equal(device.running, before)
})

test('one audit of the model before that happened to be wrong lets nothing pass', async t => {
  const { device: make, next } = await scene(t)
  const device = await make().start(t)
  device.observed = { audits: 1, wrong: 1, errors: 0, online: true }
  await device.offer({ ...next.offer, probation: { ...terms, windows: 40 } })
  await device.infer(20, { agrees: false })
  assert.equal(device.state, 'rolled-back')
})

test('a model may be contradicted as often as the one before was', async t => {
  const { device: make, next } = await scene(t)
  const device = await make().start(t)
  device.observed = { audits: 10, wrong: 9, errors: 0, online: true }
  await device.offer({ ...next.offer, probation: { ...terms, windows: 40 } })
  await device.infer(20)
  await device.infer(20, { agrees: false })
  assert.equal(device.state, 'done')
})

test('a model without valid answers is taken back', async t => {
  const { device: make, next } = await scene(t)
  const device = await make().start(t)
  await device.offer(next.offer)
  await device.infer(5, { valid: false })
  assert.equal(device.state, 'rolled-back')
})

test('probation is not stood by a device that cannot say so, nor before its windows have come', async t => {
  const { device: make, next } = await scene(t)
  const device = await make().start(t)
  await device.offer(next.offer)
  await device.infer(2)
  assert.equal(device.state, 'probation')
  device.observed = { ...device.observed, online: false }
  await device.infer(5)
  assert.equal(device.state, 'probation')
  device.observed = { ...device.observed, online: true }
  await device.infer(1)
  assert.equal(device.state, 'done')
})

test('an agent that ends again and again on probation starts with the model before', async t => {
  const { device: make, next } = await scene(t)
  const first = await make().start(t)
  const before = first.running
  await first.offer(next.offer)
  const starts: string[] = []
  for (let i = 0; i < 4; i++) starts.push((await make().start(t)).running)
  assert.deepEqual(starts, [next.offer.digest, next.offer.digest, next.offer.digest, before])
  const last = await make().start(t)
  assert.deepEqual([last.state, last.error?.code], ['rolled-back', 'UPDATE_CRASHED'])
  assert.equal(last.statuses.at(-1)?.state, 'rolled-back')
})

test('an agent starts with the model before where the new one does not load, on probation or years later', async t => {
  const { device: make, next } = await scene(t)
  const first = await make().start(t)
  const before = first.running
  await first.offer(next.offer)
  const crashes = (path: string) => path.includes('models')
  const second = await make({ crashes }).start(t)
  assert.deepEqual([second.running, second.state], [before, 'rolled-back'])
  const { device: other, next: same, directory } = await scene(t)
  const sound = await other().start(t)
  await sound.offer(same.offer)
  await sound.infer(3)
  assert.equal(sound.state, 'done')
  await writeFile(join(bundlePath(join(directory, 'models'), same.offer.digest), 'bundle.json'), 'rot')
  assert.equal((await other().start(t)).running, before)
})

test('another model in the configuration counts more than what came with an update', async t => {
  const { device: make, next } = await scene(t)
  const first = await make().start(t)
  await first.offer(next.offer)
  await first.infer(3)
  const configured = await tinyBundle(t, description => Object.assign(description, { version: '5.0.0' }))
  const second = await make({ configured }).start(t)
  assert.ok(![next.offer.digest, first.running].includes(second.running))
})

test('an offer that is withdrawn ends a download and nothing else', async t => {
  const { device: make, next } = await scene(t)
  const device = await make().start(t)
  device.carry = () => {}
  await device.offer(next.offer)
  device.updater.withdrawn()
  await device.updater.settled()
  assert.deepEqual([device.state, device.error?.code], ['failed', 'UPDATE_WITHDRAWN'])
  device.carry = request => device.deliver(request)
  const again = { ...next.offer, id: 'r-1b' }
  const { device: other, archives } = await scene(t)
  archives.set(again.id, next.archive)
  const late = await other().start(t)
  await late.offer(again)
  late.updater.withdrawn()
  await late.infer(3)
  assert.equal(late.state, 'done')
})

test('an offer that was withdrawn and is made again is taken, under the same id and after a restart', async t => {
  const { device: make, next } = await scene(t)
  const device = await make().start(t)
  device.carry = () => {}
  await device.offer(next.offer)
  device.updater.withdrawn()
  await device.updater.settled()
  assert.equal(device.error?.code, 'UPDATE_WITHDRAWN')
  await device.updater.stop()
  const second = await make().start(t)
  await second.offer(next.offer)
  await second.infer(3)
  assert.deepEqual([second.state, second.running], ['done', next.offer.digest])
})

test('an offer that comes during probation waits for its end, and one of what runs is done at once', async t => {
  const { device: make, next, archives } = await scene(t)
  const third = await offered(
    t,
    await tinyBundle(t, description => Object.assign(description, { version: '3.0.0' })),
    'r-2',
  )
  archives.set('r-2', third.archive)
  const device = await make().start(t)
  await device.offer(next.offer)
  await device.offer(third.offer)
  assert.equal(device.running, next.offer.digest)
  await device.infer(3)
  assert.deepEqual([device.running, device.state], [third.offer.digest, 'probation'])
  await device.infer(3)
  await device.offer({ ...third.offer, id: 'r-3' })
  assert.deepEqual([device.journal.update?.offer.id, device.state], ['r-3', 'done'])
  // What was before is still on the disk: no byte of it is fetched.
  const fetched = device.requests.length
  await device.offer({ ...next.offer, id: 'r-4' })
  assert.deepEqual([device.running, device.requests.length], [next.offer.digest, fetched])
})
