import { cp, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Bundle, chooseEngine, type EngineChoice, type EngineName, loadBundle } from '@faultline/inference'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { FoundBundle } from './repository.ts'

export interface ShelfOptions {
  /** `auto`: found by trial for each bundle. */
  engine: EngineName | 'auto'
  /** Public keys; when given, bundles must be signed with one of them. */
  trusted: readonly string[] | undefined
}

/** A verified copy of a bundle, with the engine that runs it here. */
export interface ShelvedBundle extends EngineChoice {
  bundle: Bundle
}

/**
 * Copies of the bundles that are served. A worker that starts again must find the model that is served even when another
 * bundle lies in its place by then, half copied or no good.
 */
export class BundleShelf {
  private readonly options: ShelfOptions
  /** By digest. */
  private readonly bundles = new Map<string, Promise<ShelvedBundle>>()
  private place: string | undefined
  private taken = 0

  constructor(options: ShelfOptions) {
    this.options = options
  }

  async start(): Promise<void> {
    this.place = await mkdtemp(join(tmpdir(), 'faultline-models-'))
  }

  async stop(): Promise<void> {
    this.bundles.clear()
    if (this.place) await rm(this.place, { recursive: true, force: true })
    this.place = undefined
  }

  has(digest: string): boolean {
    return this.bundles.has(digest)
  }

  /** Begins to copy a bundle and to find its engine, so that `take` need not. */
  prepare(found: FoundBundle): void {
    if (this.bundles.has(found.digest)) return
    const shelving = this.shelve(found)
    shelving.catch(() => {}) // Heard of by whoever takes it.
    this.bundles.set(found.digest, shelving)
  }

  /** A bundle from here, copied and verified where it is not here yet. Throws the coded errors of bundles and engines. */
  async take(found: FoundBundle): Promise<ShelvedBundle> {
    this.prepare(found)
    try {
      return await this.bundles.get(found.digest)!
    } catch (error) {
      this.bundles.delete(found.digest)
      throw error
    }
  }

  /** Drops what is not used. */
  async clear(isUsed: (digest: string) => boolean): Promise<void> {
    for (const [digest, shelving] of this.bundles) {
      if (isUsed(digest)) continue
      this.bundles.delete(digest)
      await shelving.then(
        ({ bundle }) => rm(bundle.directory, { recursive: true, force: true }),
        () => {},
      )
    }
  }

  private async shelve({ directory, digest }: FoundBundle): Promise<ShelvedBundle> {
    const { engine, trusted } = this.options
    const copy = join(this.place!, String(++this.taken))
    try {
      // What a link leads to, not the link: it may lead elsewhere tomorrow.
      await realpath(directory)
        .then(found => cp(found, copy, { recursive: true }))
        .catch(cause => {
          throw toFaultlineError(cause, 'BUNDLE_UNREADABLE', directory)
        })
      const bundle = await loadBundle(copy, { ...(trusted && { trusted }) })
      if (bundle.digest !== digest)
        throw new FaultlineError('BUNDLE_DIGEST_MISMATCH', `${directory} has changed while it was copied`)
      return { bundle, ...(engine === 'auto' ? await chooseEngine(bundle) : { engine, rejected: [] }) }
    } catch (error) {
      await rm(copy, { recursive: true, force: true })
      throw error
    }
  }
}
