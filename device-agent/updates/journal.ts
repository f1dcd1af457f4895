import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  refusal,
  toFaultlineError,
  type UpdateOffer,
  type UpdateState,
  updateOffer,
  updateStates,
} from '@faultline/protocol'
import { z } from 'zod'
import type { Disk } from './disk.ts'

const count = z.int().nonnegative()

const update = z.strictObject({
  offer: updateOffer,
  state: z.enum(updateStates),
  /** Downloads that ended in something else than what was offered. */
  damaged: count,
  /** Starts of the process while it was on probation. */
  starts: count,
  /** Digest of the model in force before; null for the one of the configuration. */
  before: z.string().nullable(),
  /** What audits said of the version before. */
  audited: z.strictObject({ audits: count, wrong: count }),
  error: refusal.optional(),
})

const content = z.strictObject({
  version: z.literal(1),
  /** Digest of the model that a start begins with; null for the one of the configuration. */
  model: z.string().nullable(),
  /** The directory that the configuration named when that was written. */
  configured: z.string().nullable(),
  update: update.nullable(),
})

export type UpdateRecord = z.infer<typeof update>
type JournalContent = z.infer<typeof content>

/**
 * How far an update is, and which model is in force, in one small file that is replaced as a whole: state and model change
 * in the same instant, or neither does.
 */
export class Journal {
  readonly path: string
  /** Why what is there could not be read; undefined where it could, and where nothing is there. */
  readonly damage: string | undefined
  private readonly disk: Disk
  private readonly configured: string | null
  private current: JournalContent

  /**
   * Reads what is there. A damaged file counts as absent: the model of the configuration is always there.
   * @param configured Directory of that model. When somebody has put another into the configuration, that one counts.
   */
  constructor(directory: string, disk: Disk, configured: string | undefined) {
    this.path = join(directory, 'journal.json')
    this.disk = disk
    this.configured = configured ?? null
    const { found, damage } = read(this.path)
    this.damage = damage
    const model = found?.configured === this.configured ? found.model : null
    this.current = { version: 1, configured: this.configured, model, update: found?.update ?? null }
  }

  get update(): UpdateRecord | null {
    return this.current.update
  }

  get model(): string | null {
    return this.current.model
  }

  begin(offer: UpdateOffer, state: UpdateState, error?: UpdateRecord['error']): Promise<void> {
    const record = { offer, state, damaged: 0, starts: 0, before: this.model, audited: { audits: 0, wrong: 0 } }
    return this.write({ ...this.current, update: { ...record, ...(error && { error }) } })
  }

  /** Changes the update that is there, and the model with it where one is given. */
  change(changes: Partial<Omit<UpdateRecord, 'offer'>>, model: string | null = this.model): Promise<void> {
    if (!this.update) throw new Error('there is no update to change')
    return this.write({ ...this.current, model, update: { ...this.update, ...changes } })
  }

  /** Keeps a damaged file under another name, and gives that name. */
  async setAside(): Promise<string> {
    const aside = `${this.path}.damaged-${new Date().toISOString().replaceAll(':', '-')}`
    await this.disk.move(this.path, aside)
    return aside
  }

  private async write(next: JournalContent): Promise<void> {
    await this.disk.write(this.path, `${JSON.stringify(next, null, 1)}\n`)
    this.current = next
  }
}

function read(path: string): { found?: JournalContent; damage?: string } {
  try {
    return { found: content.parse(JSON.parse(readFileSync(path, 'utf8'))) }
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'ENOENT' ? {} : { damage: toFaultlineError(thrown).message }
  }
}
