import { cp, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Bundle, loadBundle } from '@faultline/inference'
import { toFaultlineError } from '@faultline/protocol'

/**
 * Copies of the bundles that are served. A worker that starts again must find the model that is served even when another
 * bundle lies in its place by then, half copied or no good.
 */
export class BundleShelf {
  private place: string | undefined
  private taken = 0

  async start(): Promise<void> {
    this.place = await mkdtemp(join(tmpdir(), 'faultline-models-'))
  }

  async stop(): Promise<void> {
    if (this.place) await rm(this.place, { recursive: true, force: true })
    this.place = undefined
  }

  /** Copies a bundle and verifies the copy. Throws the coded errors of bundles. */
  async take(directory: string, trusted?: readonly string[]): Promise<Bundle> {
    const copy = join(this.place!, String(++this.taken))
    try {
      // What a link leads to, not the link: it may lead elsewhere tomorrow.
      await realpath(directory)
        .then(found => cp(found, copy, { recursive: true }))
        .catch(cause => {
          throw toFaultlineError(cause, 'BUNDLE_UNREADABLE', directory)
        })
      return await loadBundle(copy, { ...(trusted && { trusted }) })
    } catch (error) {
      await this.drop({ directory: copy })
      throw error
    }
  }

  async drop({ directory }: Pick<Bundle, 'directory'>): Promise<void> {
    await rm(directory, { recursive: true, force: true })
  }
}
