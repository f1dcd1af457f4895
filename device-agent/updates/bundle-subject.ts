import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import {
  type BundleDescription,
  chooseEngine,
  type EngineChoice,
  type EngineName,
  loadBundle,
} from '@faultline/inference'
import { FaultlineError, type UpdateOffer } from '@faultline/protocol'
import type { Disk } from './disk.ts'
import type { Standing, UpdateSubject } from './subject.ts'
import { unpack } from './unpack.ts'

/** What a model has to fit: the device's sensors, the server's models, the alarms behind both. */
export interface ModelFit {
  digest: string | undefined
  task: string
  /** Absent without a model: then its windows have to fit, and its classes may be any. */
  classes?: readonly string[]
  input: { samples: number; rateHz: number } | { shape: readonly number[] }
}

export interface BundleSubjectOptions {
  /** Where models lie, each under its digest. */
  directory: string
  trusted: readonly string[] | undefined
  engine: EngineName | 'auto'
  disk: Disk
  /** Of the model that runs. */
  fit: () => ModelFit
  /** Has the agent go on with the model that the journal names. Throws what loading it throws; the one before runs then. */
  exchange: () => Promise<void>
  /** Tries engines in processes of their own; `chooseEngine` unless a test stands in for it. */
  choose?: (...given: Parameters<typeof chooseEngine>) => Promise<EngineChoice>
}

export const bundlePath = (directory: string, digest: string): string =>
  join(directory, digest.slice('sha256:'.length, 'sha256:'.length + 32))

/** The local model. It is exchanged while the agent runs, which ends its windows with one and begins with the other. */
export class BundleSubject implements UpdateSubject {
  private readonly options: BundleSubjectOptions

  constructor(options: BundleSubjectOptions) {
    this.options = options
  }

  get running(): string | undefined {
    return this.options.fit().digest
  }

  admit(offer: UpdateOffer): void {
    const { task } = this.options.fit()
    if (offer.kind === 'bundle' && offer.task !== task)
      throw incompatible(`the model decides ${offer.task}, this device ${task}`)
  }

  has(digest: string): boolean {
    return existsSync(this.pathOf(digest))
  }

  async install(archive: string, { digest }: UpdateOffer): Promise<void> {
    const { disk, trusted } = this.options
    const place = this.pathOf(digest)
    const staging = `${place}.new`
    await disk.remove(staging)
    await disk.makeDirectory(staging)
    await unpack(archive, staging, disk)
    const bundle = await loadBundle(staging, { ...(trusted && { trusted }) })
    if (bundle.digest !== digest)
      throw new FaultlineError(
        'UPDATE_DAMAGED',
        `the archive holds ${bundle.digest}, not the ${digest} that was offered`,
      )
    this.checkFit(bundle.description)
    await disk.remove(place)
    await disk.move(staging, place)
  }

  async try({ digest }: UpdateOffer): Promise<void> {
    const { engine, trusted, choose = chooseEngine } = this.options
    const bundle = await loadBundle(this.pathOf(digest), { ...(trusted && { trusted }) })
    await choose(bundle, engine === 'auto' ? {} : { order: [engine] })
  }

  async switch(_offer: UpdateOffer, commit: () => Promise<void>): Promise<boolean> {
    await commit()
    await this.options.exchange()
    return true
  }

  async goBack(commit: () => Promise<void>): Promise<boolean> {
    await commit()
    await this.options.exchange()
    return true
  }

  /** Whoever loaded the model has looked already. */
  found(): Standing {
    return 'new'
  }

  async confirm(): Promise<void> {}

  async keepOnly(digests: readonly string[]): Promise<void> {
    const { directory, disk } = this.options
    const kept = digests.map(digest => basename(this.pathOf(digest)))
    for (const name of await readdir(directory)) if (!kept.includes(name)) await disk.remove(join(directory, name))
  }

  private pathOf(digest: string): string {
    return bundlePath(this.options.directory, digest)
  }

  private checkFit({ task, role, classes, input }: BundleDescription): void {
    const fit = this.options.fit()
    if (role !== 'local') throw incompatible(`it is a ${role} model`)
    if (task !== fit.task) throw incompatible(`it decides ${task}, this device ${fit.task}`)
    if (fit.classes && !isSameSet(classes, fit.classes))
      throw incompatible(`its classes are ${classes.join(', ')}; here they are ${fit.classes.join(', ')}`)
    const wanted = 'shape' in fit.input ? `images of ${fit.input.shape.join(' x ')}` : signal(fit.input)
    const taken = input.kind === 'image' ? `images of ${input.shape.join(' x ')}` : signal(input)
    if (wanted !== taken) throw incompatible(`it takes ${taken}; this device has ${wanted}`)
  }
}

const signal = ({ samples, rateHz }: { samples: number; rateHz: number }): string =>
  `${samples} samples at ${rateHz} Hz`

const isSameSet = (some: readonly string[], others: readonly string[]): boolean =>
  some.length === others.length && some.every(name => others.includes(name))

const incompatible = (why: string): FaultlineError => new FaultlineError('UPDATE_INCOMPATIBLE', why)
