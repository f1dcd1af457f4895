import { chmod, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Identity, identityOf } from '@faultline/protocol'
import type { Registry } from '@faultline/provisioning'

/** Names of the parts that every fleet has one of. */
export const fleetIdentities = {
  server: identityOf('server', 'local'),
  recorder: identityOf('recorder', 'local'),
  flows: identityOf('flows', 'local'),
  operator: identityOf('operator', 'local'),
} as const

/**
 * Enrols the fleet's parts on the first start and knows their secrets on the next: the registry holds hashes alone, so
 * the secrets stand beside it in a file only its owner can read.
 */
export class FleetIdentities {
  private readonly file: string
  private readonly registry: Registry
  private secrets: Record<string, string> = {}

  constructor(directory: string, registry: Registry) {
    this.file = join(directory, 'secrets.json')
    this.registry = registry
  }

  /** The secret of each identity by name; enrols those that are new. */
  async enrol(identities: readonly Identity[]): Promise<ReadonlyMap<string, string>> {
    this.secrets = await this.load()
    const enrolled = new Set(this.registry.list().map(entry => entry.name))
    for (const identity of identities) {
      if (enrolled.has(identity.name) && this.secrets[identity.name]) continue
      // Enrolled, but its secret is lost: the registry cannot give it back, only replace it.
      const fresh = enrolled.has(identity.name)
        ? await this.registry.rotate(identity.name)
        : await this.registry.enroll(identity)
      this.secrets[identity.name] = fresh.secret
    }
    await this.save()
    return new Map(Object.entries(this.secrets))
  }

  private async load(): Promise<Record<string, string>> {
    try {
      return JSON.parse(await readFile(this.file, 'utf8')) as Record<string, string>
    } catch {
      return {} // The first start, or a file cut short: secrets that are missing are made anew.
    }
  }

  private async save(): Promise<void> {
    const draft = `${this.file}.new`
    await writeFile(draft, `${JSON.stringify(this.secrets, null, 2)}\n`, { mode: 0o600 })
    await chmod(draft, 0o600)
    await rename(draft, this.file)
  }
}
