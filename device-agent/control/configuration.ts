import { isDeepStrictEqual } from 'node:util'
import {
  type ConfigDesired,
  type ConfigReported,
  FaultlineError,
  type RuntimeConfig,
  runtimeConfig,
  toFaultlineError,
} from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import { z } from 'zod'
import type { Settings } from '../spool/storage.ts'

/** What an operator may change at run time, complete. */
export type RuntimeSettings = Required<RuntimeConfig>

export interface ConfigurationOptions {
  /** From the configuration file; holds until an operator wrote something else. */
  initial: RuntimeSettings
  settings: Settings
  /** Of the device. */
  points: readonly string[]
  /** Puts settings in force as a whole, or throws a coded error and changes nothing. */
  apply: (settings: RuntimeSettings) => void
  logger: Logger
}

const settingName = 'configuration'
const stored = z.strictObject({ revision: z.int().nonnegative(), config: runtimeConfig })

/**
 * The runtime configuration: desired by an operator, checked as a whole, then applied or refused. The last one applied is
 * kept on disk and outlives a restart, also one without a connection.
 */
export class Configuration {
  private readonly options: ConfigurationOptions
  private settings: RuntimeSettings
  private revision = 0
  private lastReport: ConfigReported | undefined

  constructor(options: ConfigurationOptions) {
    this.options = options
    this.settings = options.initial
  }

  get current(): RuntimeSettings {
    return this.settings
  }

  /** What the device says of its configuration: the last answer, or what is in force when it was never asked. */
  get report(): ConfigReported {
    return this.lastReport ?? this.reported(this.revision, 'applied')
  }

  /** Puts in force what was kept, or else the configuration file. Throws the coded error of the latter. */
  restore(): void {
    const { initial, settings, apply, logger } = this.options
    const kept = stored.safeParse(settings.read(settingName))
    if (kept.success) {
      const merged = merge(initial, kept.data.config)
      try {
        apply(merged)
        this.settings = merged
        this.revision = kept.data.revision
        return
      } catch (thrown) {
        // Another model, or another version of the software: what was good then is not now.
        logger.warn({ error: toFaultlineError(thrown).message }, 'kept configuration not applied')
      }
    }
    apply(initial)
  }

  /**
   * Applies or refuses what an operator desires; entries that this version does not know are passed over and named in the
   * report. Never throws.
   */
  receive({ revision, config, ignored }: ConfigDesired): ConfigReported {
    const { logger } = this.options
    try {
      if (revision < this.revision) {
        throw new FaultlineError('CONFIG_INVALID', `revision ${revision} is older than ${this.revision}, in force`)
      }
      const merged = merge(this.settings, config)
      this.check(merged)
      if (!isDeepStrictEqual(merged, this.settings)) this.options.apply(merged)
      this.settings = merged
      this.revision = revision
      this.keep()
      if (ignored) logger.warn({ ignored }, 'desired configuration has entries that this version does not know')
      this.lastReport = { ...this.reported(revision, 'applied'), ...(ignored && { ignored }) }
    } catch (thrown) {
      this.lastReport = this.reported(revision, 'refused', toFaultlineError(thrown))
    }
    return this.lastReport
  }

  /** Refuses a desired configuration that does not even fit the schema; the revision is read where it can be. */
  refuse(error: FaultlineError, payload: Buffer): ConfigReported {
    this.lastReport = this.reported(revisionIn(payload) ?? this.revision, 'refused', error)
    return this.lastReport
  }

  private check({ pace }: RuntimeSettings): void {
    const unknown = pace.paused?.find(point => !this.options.points.includes(point))
    if (unknown !== undefined) throw new FaultlineError('CONFIG_INVALID', `pace.paused: there is no point "${unknown}"`)
  }

  private keep(): void {
    try {
      this.options.settings.writeThrough(settingName, { revision: this.revision, config: this.settings })
    } catch (thrown) {
      // In force all the same; after a restart the broker's retained message brings it back.
      this.options.logger.error({ error: toFaultlineError(thrown).message }, 'configuration not kept')
    }
  }

  private reported(revision: number, status: ConfigReported['status'], error?: FaultlineError): ConfigReported {
    const { code, message } = error ?? {}
    return {
      revision,
      at: new Date().toISOString(),
      status,
      ...(code && message && { error: { code, message } }),
      config: this.settings,
    }
  }
}

const merge = (settings: RuntimeSettings, changes: RuntimeConfig): RuntimeSettings => ({
  ...settings,
  ...(Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined)) as RuntimeConfig),
})

function revisionIn(payload: Buffer): number | undefined {
  try {
    return z.looseObject({ revision: z.int().nonnegative() }).parse(JSON.parse(payload.toString('utf8'))).revision
  } catch {
    return undefined
  }
}
