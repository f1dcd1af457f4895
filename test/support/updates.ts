import { appendFileSync, mkdirSync } from 'node:fs'
import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type Bundle, type Classifier, type LoadedClassifier, loadBundle, signBundle } from '@faultline/inference'
import {
  createSigningKey,
  type Inference,
  maxChunkBytes,
  type UpdateOffer,
  type UpdateRequest,
  type UpdateState,
  type UpdateStatus,
} from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { BundleSubject } from '../../device-agent/updates/bundle-subject.ts'
import { CurrentModel } from '../../device-agent/updates/current-model.ts'
import { Disk } from '../../device-agent/updates/disk.ts'
import { Journal } from '../../device-agent/updates/journal.ts'
import { Updater } from '../../device-agent/updates/updater.ts'
import { digestOf } from '../../inference/bundle/loader.ts'
import { archivePath, packBundle } from '../../provisioning/rollouts/artifact.ts'
import { temporaryDirectory } from './temp.ts'

type Test = Pick<TestContext, 'after'>
type BundleOffer = Extract<UpdateOffer, { kind: 'bundle' }>

export const maker = createSigningKey()
const fixture = join(import.meta.dirname, '../inference/fixtures/tiny-features')

export const terms: UpdateOffer['probation'] = { seconds: 0.001, windows: 3, disagreement: 0.1 }

/** A signed bundle of a tiny model, as it is or with changes to its description. */
export async function tinyBundle(
  t: Test,
  change: (description: Record<string, unknown>) => void = () => {},
  key = maker,
): Promise<string> {
  const directory = join(await temporaryDirectory(t), 'bundle')
  await cp(fixture, directory, { recursive: true })
  const file = join(directory, 'bundle.json')
  const description = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>
  change(description)
  await writeFile(file, JSON.stringify(description))
  const digest = digestOf(await readFile(file))
  await signBundle({ ...(await loadBundle(fixture)), directory, digest }, key.privateKey)
  return directory
}

/** What is offered, and the archive behind it. */
export interface Offered {
  offer: BundleOffer
  archive: Buffer
}

export async function offered(t: Test, bundle: string, id = 'r-1'): Promise<Offered> {
  const directory = await temporaryDirectory(t)
  const artifact = await packBundle(bundle, directory)
  if (artifact.kind !== 'bundle') throw new Error('not a bundle')
  return {
    offer: { ...artifact, id, probation: terms },
    archive: await readFile(archivePath(directory, artifact.archive.sha256)),
  }
}

/** A disk whose power is cut before one of its changes; of an append it does a half. Nothing changes after that. */
export class FailingDisk extends Disk {
  readonly changes: string[] = []
  private readonly cutBefore: number

  constructor(cutBefore = Number.POSITIVE_INFINITY) {
    super()
    this.cutBefore = cutBefore
  }

  get dead(): boolean {
    return this.changes.length > this.cutBefore
  }

  override async append(path: string, bytes: Uint8Array): Promise<void> {
    if (this.changes.length === this.cutBefore) appendFileSync(path, bytes.subarray(0, bytes.byteLength >> 1))
    await super.append(path, bytes)
  }

  protected override async effect(name: string, work: () => Promise<void>): Promise<void> {
    this.changes.push(name)
    if (this.dead) throw new Error(`the power was cut before: ${name}`)
    await work()
  }
}

const window = { samples: 64, rateHz: 1_000 }

export interface UpdatedDeviceOptions {
  /** Of the device's data. */
  directory: string
  /** Of the model in its configuration. */
  configured: string
  /** By the id of what is offered. */
  archives: ReadonlyMap<string, Buffer>
  disk?: Disk
  trusted?: string[]
  choose?: ConstructorParameters<typeof BundleSubject>[0]['choose']
  /** Fails to load what it is given, as a model does that takes the process with it. */
  crashes?: (directory: string) => boolean
}

/** The part of a device agent that updates its model, with a broker that carries chunks in memory. */
export class UpdatedDevice {
  readonly statuses: UpdateStatus[] = []
  readonly requests: UpdateRequest[] = []
  /** What comes of a request; a test changes bytes, or keeps them. */
  carry: (request: UpdateRequest) => void = request => this.deliver(request)
  /** As the agent saw it with the model before. */
  observed = { audits: 0, wrong: 0, errors: 0, online: true }
  readonly journal: Journal
  readonly current: CurrentModel
  readonly updater: Updater
  private readonly options: UpdatedDeviceOptions

  constructor(options: UpdatedDeviceOptions) {
    this.options = options
    const { directory, configured, disk = new Disk(), trusted = [maker.publicKey], crashes = () => false } = options
    const models = join(directory, 'models')
    mkdirSync(models, { recursive: true })
    this.journal = new Journal(directory, disk, configured)
    this.current = new CurrentModel({
      journal: this.journal,
      directory: models,
      configured,
      task: 'unknown',
      window,
      load: async path => {
        if (crashes(path)) throw new Error('the process ended')
        return loadedFrom(await loadBundle(path))
      },
      logger: silentLogger,
    })
    const bundle = new BundleSubject({
      directory: models,
      trusted,
      engine: 'auto',
      disk,
      fit: () => this.current.fit,
      exchange: () => this.current.exchange(async () => {}),
      choose: options.choose ?? (async () => ({ engine: 'onnx', rejected: [] })),
    })
    const observe = () => this.observed
    const updates = { directory, journal: this.journal, disk, subjects: { bundle }, trusted, observe }
    this.updater = new Updater({ ...updates, logger: silentLogger })
  }

  get running(): string {
    return this.current.model.model.digest
  }

  get state(): UpdateState | undefined {
    return this.journal.update?.state
  }

  get error() {
    return this.journal.update?.error
  }

  async start(t: Test): Promise<this> {
    t.after(() => this.updater.stop())
    await this.current.open()
    await this.updater.start()
    this.connect()
    return this
  }

  connect(): void {
    this.updater.connected({
      status: status => this.statuses.push(status),
      request: request => {
        this.requests.push(request)
        this.carry(request)
      },
    })
  }

  async offer(offer: UpdateOffer): Promise<void> {
    this.updater.offered(offer)
    await this.updater.settled()
  }

  /** Windows that it judges, each audited by a server that agrees or does not. */
  async infer(count: number, { agrees = true, valid = true } = {}): Promise<void> {
    for (let i = 0; i < count; i++) {
      const local = { label: 'normal', confidence: valid ? 0.9 : null, model: { digest: this.running } }
      const server = { label: agrees ? 'normal' : 'fault' }
      this.updater.inferred({ local, server, reason: 'audit' } as Inference)
    }
    // The probation of a test is a thousandth of a second: over by now, or with the next timer.
    await delay(5)
    await this.updater.settled()
  }

  deliver({ id, offset, bytes }: UpdateRequest, change = (chunk: Uint8Array<ArrayBuffer>) => chunk): void {
    const archive = this.options.archives.get(id)!
    for (let at = offset; at < offset + bytes; at += maxChunkBytes) {
      const chunk = archive.subarray(at, Math.min(at + maxChunkBytes, offset + bytes))
      this.updater.chunk({ id, offset: at, bytes: change(Uint8Array.from(chunk)) })
    }
  }
}

function loadedFrom(bundle: Bundle): LoadedClassifier {
  const { name, version, task, classes, input } = bundle.description
  const classifier = { bundle, model: { name, version, digest: bundle.digest }, task, classes, input, engine: 'onnx' }
  return { classifier: { ...classifier, dispose: async () => {} } as unknown as Classifier, enginesRejected: [] }
}
