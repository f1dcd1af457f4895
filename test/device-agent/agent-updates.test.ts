import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { type Inference, signDigest, type UpdateOffer } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { pack } from 'tar-stream'
import { backUpStorage, openStorage, Settings } from '../../device-agent/spool/storage.ts'
import { AgentSubject, digestFile, packageDigest } from '../../device-agent/updates/agent-subject.ts'
import { Disk } from '../../device-agent/updates/disk.ts'
import { Journal } from '../../device-agent/updates/journal.ts'
import { Updater } from '../../device-agent/updates/updater.ts'
import { digestOf } from '../../inference/bundle/loader.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { thorough } from '../support/thorough.ts'
import { FailingDisk, maker, terms } from '../support/updates.ts'

const launcher = join(import.meta.dirname, '../../provisioning/installer/launch.sh')

/** In place of Node.js: says which version it would start; `--check` and `--version` succeed unless it is a broken one. */
const node = (broken: boolean): string =>
  `#!/bin/sh\n${broken ? 'exit 1\n' : ''}case "$*" in --version | *--check*) exit 0 ;; esac\necho "$AGENT_DIRECTORY"\n`

interface Package {
  offer: UpdateOffer
  archive: Buffer
}

/** An agent package with nothing in it but what the launcher looks for. */
async function agentPackage(version: string, { runs = true } = {}): Promise<Package> {
  const tar = pack()
  tar.entry({ name: 'faultline-agent/', type: 'directory' })
  tar.entry({ name: 'faultline-agent/agent.js' }, version)
  tar.entry({ name: 'faultline-agent/bin/node', mode: 0o755 }, node(!runs))
  tar.entry({ name: 'faultline-agent/node_modules/.package-lock.json' }, '{}')
  tar.finalize()
  const parts: Buffer[] = []
  for await (const part of tar) parts.push(part as Buffer)
  const archive = gzipSync(Buffer.concat(parts))
  const digest = digestOf(archive)
  const { publicKey, signature } = signDigest('agent', digest, maker.privateKey)
  const offer: UpdateOffer = {
    id: `r-${version}`,
    kind: 'agent',
    name: 'faultline-agent',
    version,
    digest,
    archive: { bytes: archive.byteLength, sha256: digest },
    signature: { publicKey, signature },
    probation: terms,
    architecture: 'arm64',
  }
  return { offer, archive }
}

/** A device with the launcher and an installed version. A start is a process of its own, as systemd would make it. */
class Device {
  readonly base: string
  readonly state: string
  readonly software: string

  constructor(directory: string) {
    this.base = join(directory, 'opt')
    this.state = join(directory, 'state')
    this.software = join(this.state, 'software')
    mkdirSync(join(this.base, 'bin'), { recursive: true })
    mkdirSync(this.software, { recursive: true })
    copyFileSync(launcher, join(this.base, 'launch.sh'))
    writeFileSync(join(this.base, 'agent.js'), 'installed')
    writeFileSync(join(this.base, digestFile), '0'.repeat(64))
    writeFileSync(join(this.base, 'bin', 'node'), node(false))
    chmodSync(join(this.base, 'bin', 'node'), 0o755)
  }

  /** The directory of the version that the launcher starts. */
  launch(path = process.env.PATH): string {
    const { stdout, stderr } = spawnSync('sh', [join(this.base, 'launch.sh'), '--config', 'device.yaml'], {
      env: { PATH: path, STATE_DIRECTORY: this.state },
      encoding: 'utf8',
    })
    assert.ok(stdout.trim(), stderr)
    return stdout.trim()
  }

  /** A start of the agent, which the launcher has chosen the version of. */
  async start({ archive }: Package, disk: Disk = new Disk(), path?: string) {
    const running = packageDigest(this.launch(path))
    const journal = new Journal(this.state, disk, undefined)
    let restarts = 0
    const subject = new AgentSubject({
      software: this.software,
      running,
      disk,
      configuration: 'device.yaml',
      restart: () => restarts++,
      backUp: () => {},
      architecture: 'arm64',
    })
    const updater: Updater = new Updater({
      directory: this.state,
      journal,
      disk,
      subjects: { bundle: subject, agent: subject },
      trusted: [maker.publicKey],
      observe: () => ({ audits: 0, wrong: 0, errors: 0, online: true }),
      logger: silentLogger,
    })
    await updater.start()
    updater.connected({
      status: () => {},
      request: ({ id, offset, bytes }) =>
        updater.chunk({ id, offset, bytes: Uint8Array.from(archive.subarray(offset, offset + bytes)) }),
    })
    await updater.settled()
    return { running, journal, updater, restarted: () => restarts > 0 }
  }

  /** Takes an offer and lives with it over its restarts, until nothing more happens. */
  async live(offered: Package, { disk = new Disk(), valid = true } = {}) {
    for (let starts = 0; starts < 8; starts++) {
      const { updater, journal, running, restarted } = await this.start(offered, disk)
      updater.offered(offered.offer)
      await updater.settled()
      const local = { label: 'normal', confidence: valid ? 0.9 : null, model: { digest: 'sha256:1' } }
      for (let i = 0; i < 6 && !restarted(); i++) updater.inferred({ local, reason: 'confident' } as Inference)
      await delay(5)
      await updater.settled()
      await updater.stop()
      if (disk instanceof FailingDisk && disk.dead) break
      if (!restarted()) return { running, update: journal.update }
    }
    return assert.fail('it restarts again and again')
  }
}

/** Every start is a shell and its commands: here before every third change, in CI before each. */
const stride = thorough ? 1 : 3

const installed = `sha256:${'0'.repeat(64)}`

test('an agent is replaced: the launcher starts the new one, which stays after its probation', async t => {
  const device = new Device(await temporaryDirectory(t))
  const next = await agentPackage('2.0.0')
  const { running, update } = await device.live(next)
  assert.deepEqual([running, update?.state], [next.offer.digest, 'done'])
  assert.equal(readFileSync(join(device.launch(), 'agent.js'), 'utf8'), '2.0.0')
  assert.ok(!existsSync(join(device.software, 'trial')))
  const third = await agentPackage('3.0.0')
  assert.equal((await device.live(third)).running, third.offer.digest)
})

test('an agent that does badly on probation gives way to the one before', async t => {
  const device = new Device(await temporaryDirectory(t))
  const second = await agentPackage('2.0.0')
  await device.live(second)
  const third = await agentPackage('3.0.0')
  const { running, update } = await device.live(third, { valid: false })
  assert.deepEqual([running, update?.state], [second.offer.digest, 'rolled-back'])
  assert.equal(update?.error?.code, 'UPDATE_PROBATION_FAILED')
})

test('an agent that ends at every start gives way at the fourth, and the one before says so', async t => {
  const device = new Device(await temporaryDirectory(t))
  const next = await agentPackage('2.0.0')
  const first = await device.start(next)
  first.updater.offered(next.offer)
  await first.updater.settled()
  assert.ok(first.restarted())
  await first.updater.stop()
  const starts = [1, 2, 3, 4].map(() => packageDigest(device.launch()))
  assert.deepEqual(starts, [next.offer.digest, next.offer.digest, next.offer.digest, installed])
  const last = await device.start(next)
  assert.deepEqual([last.journal.update?.state, last.journal.update?.error?.code], ['rolled-back', 'UPDATE_CRASHED'])
  await last.updater.stop()
})

test('an agent whose Node.js does not run here is not even switched to', async t => {
  const device = new Device(await temporaryDirectory(t))
  const next = await agentPackage('2.0.0', { runs: false })
  const { running, update } = await device.live(next)
  assert.deepEqual([running, update?.state, update?.error?.code], [installed, 'failed', 'UPDATE_INCOMPATIBLE'])
})

test('a version that was damaged after it was tried gives way at the first start', async t => {
  const device = new Device(await temporaryDirectory(t))
  const version = join(device.software, 'versions', 'x')
  mkdirSync(join(version, 'bin'), { recursive: true })
  writeFileSync(join(version, 'agent.js'), 'x')
  writeFileSync(join(version, 'bin', 'node'), node(true), { mode: 0o755 })
  symlinkSync('versions/x', join(device.software, 'current'))
  writeFileSync(join(device.software, 'trial'), '0\n')
  assert.equal(packageDigest(device.launch()), installed)
})

test('a return that fails, as on a full card, is tried again at the next start', async t => {
  const device = new Device(await temporaryDirectory(t))
  const before = await agentPackage('2.0.0')
  await device.live(before)
  const next = await agentPackage('3.0.0')
  const first = await device.start(next)
  first.updater.offered(next.offer)
  await first.updater.settled()
  await first.updater.stop()
  writeFileSync(join(device.software, 'trial'), '3\n')
  const full = await temporaryDirectory(t)
  writeFileSync(join(full, 'cp'), '#!/bin/sh\nexit 1\n', { mode: 0o755 })
  const second = await device.start(next, new Disk(), `${full}:${process.env.PATH}`)
  assert.deepEqual([second.running, second.journal.update?.state], [next.offer.digest, 'probation'])
  await second.updater.stop()
  const third = await device.start(next)
  assert.deepEqual([third.running, third.journal.update?.state], [before.offer.digest, 'rolled-back'])
  await third.updater.stop()
})

test('a package for another processor is refused before it is fetched', async t => {
  const device = new Device(await temporaryDirectory(t))
  const { offer, archive } = await agentPackage('2.0.0')
  const { update } = await device.live({ offer: { ...offer, architecture: 'x64' } as UpdateOffer, archive })
  assert.deepEqual([update?.state, update?.error?.code], ['failed', 'UPDATE_INCOMPATIBLE'])
})

for (const [what, valid, end] of [
  ['the agent ends on the new version', true, 'done'],
  ['where it falls, on the version before', false, 'rolled-back'],
] as const) {
  test(`the power may be cut before any change of an agent to the disk: ${what}`, async t => {
    const directory = await temporaryDirectory(t)
    const next = await agentPackage('2.0.0')
    for (let cuts = 0, whole = false; !whole; cuts += stride) {
      const device = new Device(await mkdtemp(join(directory, 'device-')))
      const disk = new FailingDisk(cuts)
      await device.live(next, { disk, valid }).catch(() => {})
      whole = !disk.dead
      const { running, update } = await device.live(next, { valid })
      assert.equal(update?.state, end, `${update?.error?.message} after ${disk.changes.at(-1)}`)
      assert.equal(running, valid ? next.offer.digest : installed)
      assert.equal(packageDigest(device.launch()), running)
    }
  })
}

test('an agent that was taken back finds its database as it was before the update, where the newer one changed its form', async t => {
  const directory = await temporaryDirectory(t)
  const before = openStorage(directory)
  new Settings(before).write('kept', 'of the old agent')
  backUpStorage(directory)
  before.exec('PRAGMA user_version = 99; DROP TABLE settings')
  before.close()
  const after = openStorage(directory)
  t.after(() => after.close())
  assert.equal(new Settings(after).read('kept'), 'of the old agent')
  const elsewhere = await temporaryDirectory(t)
  const newer = openStorage(elsewhere)
  newer.exec('PRAGMA user_version = 99')
  newer.close()
  assert.throws(() => openStorage(elsewhere), { code: 'DATABASE_FAILED' })
})
