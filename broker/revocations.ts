import type { RegistryReader } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'

/** How often the registry is asked whether it changed; it has to be well below the second that is promised. */
const lookMs = 250

export interface RevocationsOptions {
  registry: RegistryReader
  /** Called when anything in the registry may have changed. Throws when it cannot be read. */
  changed(): void
  logger: Logger
}

/** Notices what provisioning does to the registry, in this process or another. */
export class Revocations {
  private readonly options: RevocationsOptions
  private timer: NodeJS.Timeout | undefined
  private version: string | undefined
  private failing = false

  constructor(options: RevocationsOptions) {
    this.options = options
  }

  start(): void {
    this.timer = setInterval(() => this.look(), lookMs)
  }

  stop(): void {
    clearInterval(this.timer)
  }

  private look(): void {
    try {
      const version = this.options.registry.version()
      if (version !== this.version) this.options.changed()
      // Only now: what failed is done again.
      this.version = version
      this.failing = false
    } catch (thrown) {
      // Nobody can tell who was revoked; to cut everybody off would be worse than to wait.
      if (!this.failing) this.options.logger.error({ error: (thrown as Error).message }, 'the registry cannot be read')
      this.failing = true
    }
  }
}
