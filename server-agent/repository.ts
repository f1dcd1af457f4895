import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type BundleDescription, describeBundle } from '@faultline/inference'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'

/** A bundle where it was found, and what it says of itself: nothing of that is verified yet. */
export interface FoundBundle extends Pick<BundleDescription, 'name' | 'version' | 'task'> {
  directory: string
  digest: string
  trainedAt: string
}

/** A directory in which a bundle lies, or lay until a moment ago. */
export interface Place {
  readonly directory: string
  /** The configuration names it itself, rather than the directory it lies in. */
  readonly named: boolean
  /** What lies there; undefined for what is no bundle of a server model. */
  found: FoundBundle | undefined
  /** Why what lies there cannot be read. */
  problem: FaultlineError | undefined
  /** Times in a row that nothing was there. */
  missed: number
}

/** Levels of directories below one that is named: `bearing-server/1.2.0` is two. */
const deepest = 2
/** A bundle that is being put in the place of another may be missing once. */
const mostMissed = 1

/**
 * The bundles in the directories that a configuration names: each is a bundle itself, or has bundles of server models in it, as
 * many tasks and versions as there are. Those that are named keep their place when they are missing, the others lose it.
 */
export class ModelRepository {
  readonly places = new Map<string, Place>()
  private readonly directories: readonly string[]
  private looked = false

  constructor(directories: readonly string[]) {
    this.directories = directories
  }

  /** Looks what lies where now. Throws `BUNDLE_UNREADABLE` the first time for a directory that is not there. */
  async look(): Promise<void> {
    const present = new Set<string>()
    for (const directory of this.directories) {
      const inside = await bundlesIn(directory, deepest)
      if (!inside && !this.looked) throw new FaultlineError('BUNDLE_UNREADABLE', `${directory} is no directory`)
      for (const found of inside ?? []) {
        present.add(found)
        await this.read(this.placeOf(found, found === directory))
      }
    }
    this.looked = true
    for (const place of this.places.values()) {
      if (present.has(place.directory)) continue
      place.missed++
      if (!place.named && place.missed > mostMissed) this.places.delete(place.directory)
    }
  }

  private placeOf(directory: string, named: boolean): Place {
    const place = this.places.get(directory) ?? { directory, named, found: undefined, problem: undefined, missed: 0 }
    this.places.set(directory, place)
    return place
  }

  private async read(place: Place): Promise<void> {
    const { directory } = place
    place.missed = 0
    try {
      if (place.found && (await digestAt(directory)) === place.found.digest) return
      const { digest, description } = await describeBundle(directory)
      const { name, version, task, role, training } = description
      const served = place.named || role === 'server'
      place.found = served ? { directory, digest, name, version, task, trainedAt: training.at } : undefined
      place.problem = undefined
    } catch (thrown) {
      place.found = undefined
      place.problem = toFaultlineError(thrown)
    }
  }
}

/** The bundle that a directory is, or those in it; undefined where there is no directory. */
async function bundlesIn(directory: string, levels: number): Promise<string[] | undefined> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => undefined)
  if (!entries) return undefined
  if (entries.some(({ name }) => name === 'bundle.json')) return [directory]
  if (levels === 0) return []
  const bundles: string[] = []
  // A link is how some put a directory in the place of another at once.
  for (const entry of entries)
    if (entry.isDirectory() || entry.isSymbolicLink())
      bundles.push(...((await bundlesIn(join(directory, entry.name), levels - 1)) ?? []))
  return bundles
}

async function digestAt(directory: string): Promise<string> {
  const description = await readFile(join(directory, 'bundle.json'))
  return `sha256:${createHash('sha256').update(description).digest('hex')}`
}
