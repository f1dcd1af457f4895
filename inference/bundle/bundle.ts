import type { BundleDescription } from './description.ts'

/** A bundle read from its directory, its digests verified. */
export interface Bundle {
  directory: string
  description: BundleDescription
  /** `sha256:` of `bundle.json`, which itself names the digest of every other file: identifies the model. */
  digest: string
}
