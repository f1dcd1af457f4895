import type { DatabaseFailure, Logger, SetAside } from '@faultline/runtime'
import { databaseFailure } from '@faultline/runtime'
import type { BrokerCounts } from './counts.ts'
import type { SqlitePersistence } from './persistence/sqlite.ts'
import type { StoreContents } from './persistence/store-file.ts'

/** How long a failure that has a line in the log gets no other. */
const quietMs = 60_000

export interface StoreHealthOptions {
  store: SqlitePersistence
  counts: Pick<BrokerCounts, 'storeErrors' | 'damagedStores' | 'dropped'>
  logger: Logger
}

/** Counts and logs what goes wrong with a store: once for each time that it refuses changes, not for each change. */
export class StoreHealth {
  private readonly options: StoreHealthOptions
  private readonly loggedAt = new Map<DatabaseFailure, number>()
  private announced = false

  constructor(options: StoreHealthOptions) {
    this.options = options
    const { store, counts, logger } = options
    store.on('failed', error => {
      const reason = databaseFailure(error)
      counts.storeErrors[reason]++
      // Of changes that are refused `refusing` speaks.
      if (!store.refusal) this.log(reason, error, 'reading or writing the store failed')
    })
    store.on('refusing', error => {
      if (this.log(databaseFailure(error), error, 'the store refuses changes: QoS 1 and 2 are not acknowledged')) {
        this.announced = true
      }
    })
    store.on('writable', () => {
      if (this.announced) logger.info('the store takes changes again')
      this.announced = false
    })
    store.on('setAside', (found, contents) => this.setAside(found, contents))
  }

  /** Why the broker should get no clients now, as far as the store is concerned. */
  get trouble(): string | undefined {
    const { refusal } = this.options.store
    return refusal && `the store refuses changes: ${refusal.message}`
  }

  private setAside({ path, bytes, damage }: SetAside, { sessions, messages }: StoreContents): void {
    const { counts, logger } = this.options
    counts.damagedStores++
    counts.dropped['store-damaged'] += messages ?? 0
    const lost = { sessions: sessions ?? 'unknown', messages: messages ?? 'unknown' }
    logger.error(
      { code: 'DATABASE_FAILED', path, bytes, damage, ...lost },
      'the store was damaged: set aside, and a new one made',
    )
  }

  private log(reason: DatabaseFailure, error: Error, message: string): boolean {
    const now = performance.now()
    if (now - (this.loggedAt.get(reason) ?? Number.NEGATIVE_INFINITY) < quietMs) return false
    this.loggedAt.set(reason, now)
    this.options.logger.error({ code: 'DATABASE_FAILED', reason, error: error.message }, message)
    return true
  }
}
