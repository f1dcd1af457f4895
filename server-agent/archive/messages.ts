import type { FaultlineError } from '@faultline/protocol'
import type { ArchiveCounts } from './archive.ts'
import type { OtherAnswer } from './catalogue.ts'
import type { HardWindow } from './hard-window.ts'

/** A window on its way into the archive: its features are computed there. */
export type NewWindow = Omit<HardWindow, 'features'>

/** To the thread that writes. Both ends are this software. */
export type ArchiveRequest =
  | { kind: 'window'; window: NewWindow }
  | { kind: 'answer'; answer: OtherAnswer }
  | { kind: 'close' }

/** From it. */
export type ArchiveReply =
  | { kind: 'open'; counts: ArchiveCounts }
  | { kind: 'not-open'; code: FaultlineError['code']; message: string }
  /** So many windows and answers are dealt with; of the windows so many were written. */
  | { kind: 'written'; windows: number; answers: number; written: number; counts: ArchiveCounts }
  | { kind: 'not-written'; windows: number; answers: number; code: FaultlineError['code']; message: string }
