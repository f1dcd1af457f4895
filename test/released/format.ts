import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Alarm, JsonSchema, TopicKind } from '@faultline/protocol'

/** Where the sets of released versions are, a directory each. */
export const releasedDirectory: string = join(import.meta.dirname, '..', 'fixtures', 'released')

/** Stands in the files of a set for the directory that they were made in. */
export const placeholder = '/SITE'

/** Oldest first. */
export const releasedVersions = (): string[] =>
  readdirSync(releasedDirectory, { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .map(({ name }) => name)
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))

/** `messages.json`: messages as they were sent. */
export interface ReleasedMessage {
  kind: TopicKind
  /** What is special about it; absent for the usual form. */
  variant?: string
  topic: string
  json?: unknown
  /** Bytes in base 64. */
  cbor?: string
}

/** `schemas.json`: what a reader of the version takes. */
export type ReleasedSchemas = Record<TopicKind, JsonSchema>

/** `facts.json`: what is in the files of `site/`, as it was when their programs had ended. */
export interface Facts {
  version: string
  /** Version of the contract that it speaks. */
  contract: string
  identities: Record<string, string>
  alarms: Alarm[]
  broker: { sessions: string[]; retained: string[]; queuedInferences: string[] }
  telemetry: { inferences: string[] }
  spare: { points: number }
  devices: Record<string, { waitingInferences: string[]; policyStates: number; settings: string[] }>
  archive: { windows: number }
  rollouts: { id: string; state: string }[]
}
