import { execFile } from 'node:child_process'
import { existsSync, lstatSync, readFileSync, readlinkSync, statfsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { FaultlineError, type UpdateOffer, type UpdateState } from '@faultline/protocol'
import type { Disk } from './disk.ts'
import type { Standing, UpdateSubject } from './subject.ts'
import { unpack } from './unpack.ts'

export interface AgentSubjectOptions {
  /** What the launcher keeps versions and links in; the agent owns it. */
  software: string
  /** Digest of the package that runs; undefined where it has none. */
  running: string | undefined
  disk: Disk
  /** The file this agent was started with: the new version has to be able to start with it as well. */
  configuration: string
  /** Ends the process, so that the launcher starts the version that is current then. */
  restart: () => void
  /** Copies what a newer version may write in a form that this one cannot read. */
  backUp: () => void
  architecture?: string
}

/** A version that is tried reads the configuration and has an engine run the model: minutes on a small device. */
const trialMs = 180_000
/** Archive and what it unpacks to, and room to breathe. */
const spaceFactor = 4

const run = promisify(execFile)

/** Where the digest of a package is written, beside its programs. */
export const digestFile = 'package.sha256'

/** Digest of the package that programs in a directory came in; undefined where they came otherwise. */
export function packageDigest(directory: string | undefined): string | undefined {
  try {
    const text = readFileSync(join(directory ?? '', digestFile), 'utf8').trim()
    return /^[0-9a-f]{64}$/.test(text) ? `sha256:${text}` : undefined
  } catch {
    return undefined
  }
}

/**
 * The software of the device. Versions lie beside each other; `current` names the one that the launcher starts, `previous` the
 * one it goes back to, and while there is a `trial` it counts the starts of the current one. Neither link is there where it is
 * the installer's version.
 */
export class AgentSubject implements UpdateSubject {
  private readonly options: AgentSubjectOptions
  private readonly versions: string
  private readonly current: string
  private readonly previous: string
  private readonly trial: string
  private readonly fellBack: string

  constructor(options: AgentSubjectOptions) {
    const { software } = options
    this.options = options
    this.versions = join(software, 'versions')
    this.current = join(software, 'current')
    this.previous = join(software, 'previous')
    this.trial = join(software, 'trial')
    this.fellBack = join(software, 'fell-back')
  }

  get running(): string | undefined {
    return this.options.running
  }

  admit(offer: UpdateOffer): void {
    const { architecture = process.arch, software } = this.options
    if (offer.kind !== 'agent' || offer.architecture !== architecture)
      throw new FaultlineError('UPDATE_INCOMPATIBLE', `it is for another processor; this device has ${architecture}`)
    const { bavail, bsize } = statfsSync(software)
    const wanted = spaceFactor * offer.archive.bytes
    if (bavail * bsize < wanted)
      throw new FaultlineError('UPDATE_REFUSED', `it takes ${megabytes(wanted)}, ${megabytes(bavail * bsize)} are free`)
  }

  has(digest: string): boolean {
    return existsSync(join(this.pathOf(digest), 'agent.js'))
  }

  async install(archive: string, { digest, archive: { sha256 } }: UpdateOffer): Promise<void> {
    const { disk } = this.options
    if (sha256 !== digest) throw new FaultlineError('UPDATE_DAMAGED', 'the archive is not the package that was signed')
    const place = this.pathOf(digest)
    const staging = `${place}.new`
    await disk.makeDirectory(this.versions)
    await disk.remove(staging)
    await disk.makeDirectory(staging)
    await unpack(archive, staging, disk, { strip: 1 })
    if (!existsSync(join(staging, 'agent.js'))) throw new FaultlineError('UPDATE_DAMAGED', 'it is no agent package')
    await disk.write(join(staging, digestFile), `${digest.slice('sha256:'.length)}\n`)
    await disk.remove(place)
    await disk.move(staging, place)
  }

  async try({ digest }: UpdateOffer): Promise<void> {
    const place = this.pathOf(digest)
    const program = [join(place, 'agent.js'), '--config', this.options.configuration, '--check']
    await run(join(place, 'bin', 'node'), program, { timeout: trialMs }).catch((error: Error & { stderr?: string }) => {
      const words = error.stderr?.trim().split('\n').at(-1) || error.message
      throw new FaultlineError('UPDATE_INCOMPATIBLE', `it does not start here: ${words.slice(0, 300)}`)
    })
    // What an earlier update left, before there is anything that could fall back.
    await this.options.disk.remove(this.fellBack)
  }

  /** In the old process it sees to the start of the new one; in the new one it has happened. */
  async switch({ digest }: UpdateOffer, commit: () => Promise<void>): Promise<boolean> {
    const { disk, running, restart } = this.options
    if (running === digest) {
      await commit()
      return true
    }
    const before = targetOf(this.current)
    const target = join('versions', basename(this.pathOf(digest)))
    if (before !== target) {
      this.options.backUp()
      if (before === undefined) await disk.remove(this.previous)
      else await disk.link(before, this.previous)
      // From here on starts are counted; those of the version before that happen in between do no harm.
      await disk.write(this.trial, '0\n')
      await disk.link(target, this.current)
    }
    restart()
    return false
  }

  async goBack(commit: () => Promise<void>): Promise<boolean> {
    const { disk, restart } = this.options
    const before = targetOf(this.previous)
    if (before === undefined) await disk.remove(this.current)
    else await disk.link(before, this.current)
    await disk.remove(this.trial)
    await commit()
    restart()
    return false
  }

  found({ digest }: UpdateOffer, state: UpdateState): Standing {
    const switching = state === 'switching'
    if (this.options.running === digest) return switching || existsSync(this.trial) ? 'new' : 'kept'
    return switching && !existsSync(this.fellBack) ? 'new' : 'before'
  }

  async confirm(): Promise<void> {
    await this.options.disk.remove(this.trial)
  }

  async keepOnly(digests: readonly string[]): Promise<void> {
    const kept = [...digests.map(digest => this.pathOf(digest)), targetOf(this.current), targetOf(this.previous)]
    const names = kept.filter(path => path !== undefined).map(path => basename(path))
    for (const name of await readdir(this.versions).catch(() => []))
      if (!names.includes(name)) await this.options.disk.remove(join(this.versions, name))
  }

  private pathOf(digest: string): string {
    return join(this.versions, digest.slice('sha256:'.length, 'sha256:'.length + 32))
  }
}

/** What a link names; undefined where there is none. */
function targetOf(link: string): string | undefined {
  return lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink() ? readlinkSync(link) : undefined
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`
