import type { UpdateOffer, UpdateState } from '@faultline/protocol'

/** What a start finds: the new version is on its way, or has been confirmed, or the one before was started again. */
export type Standing = 'new' | 'kept' | 'before'

/** What is updated: the model, or the agent itself. The steps of an update, each of which may be repeated after a power cut. */
export interface UpdateSubject {
  /** Digest of the version that runs now, as `state` reports it; undefined where it has none. */
  readonly running: string | undefined
  /** Throws `UPDATE_INCOMPATIBLE` or `UPDATE_REFUSED` for what is not for this device, before anything is fetched. */
  admit(offer: UpdateOffer): void
  /** Whether this version is on the disk already, in its place and verified. */
  has(digest: string): boolean
  /** Unpacks an archive whose digest is right, verifies what is in it, and puts it in its place. Throws coded errors. */
  install(archive: string, offer: UpdateOffer): Promise<void>
  /** Has the new version show in a process of its own that it works here. Throws coded errors. */
  try(offer: UpdateOffer): Promise<void>
  /**
   * Makes the new version the one that starts, with `commit` in the step that does it. True once it runs; false where it
   * will with the next start of the process, which has been asked for.
   */
  switch(offer: UpdateOffer, commit: () => Promise<void>): Promise<boolean>
  /** The version before is the one that starts, as above. */
  goBack(commit: () => Promise<void>): Promise<boolean>
  /** Of an update that the last process left in `switching` or `probation`. */
  found(offer: UpdateOffer, state: UpdateState): Standing
  /** The new version stays: with this and not before. */
  confirm(): Promise<void>
  /** Clears away what is neither `digests` nor in use. */
  keepOnly(digests: readonly string[]): Promise<void>
}
