import { accessSync, constants, statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { FaultlineError } from '@faultline/protocol'

/**
 * What is wrong with a database: its disk is full, it is damaged, another process holds its lock, this process may not
 * write it, its disk does not read or write, a newer version has written it, or something else.
 */
export type DatabaseFailure = 'full' | 'damaged' | 'locked' | 'read-only' | 'io' | 'newer' | 'other'

/** A `DATABASE_FAILED` whose reason a program can act on. */
export class DatabaseError extends FaultlineError {
  readonly reason: DatabaseFailure

  constructor(reason: DatabaseFailure, message: string, options?: { cause?: unknown }) {
    super('DATABASE_FAILED', message, options)
    this.reason = reason
  }
}

/** What this process found out about a file itself, without SQLite. */
export class Finding extends Error {
  readonly reason: DatabaseFailure

  constructor(reason: DatabaseFailure, message: string) {
    super(message)
    this.reason = reason
  }
}

/** Primary result codes of SQLite (sqlite.org/rescode.html). */
const sqliteCodes: Readonly<Record<number, DatabaseFailure>> = {
  3: 'read-only', // PERM
  5: 'locked', // BUSY
  6: 'locked', // LOCKED
  8: 'read-only', // READONLY
  10: 'io', // IOERR
  11: 'damaged', // CORRUPT
  13: 'full', // FULL
  14: 'io', // CANTOPEN
  15: 'locked', // PROTOCOL: the locks of the write-ahead log changed too often
  26: 'damaged', // NOTADB
}

/** Extended codes that say something else than their primary code. */
const extendedCodes: Readonly<Record<number, DatabaseFailure>> = {
  [10 | (32 << 8)]: 'damaged', // IOERR_DATA: a checksum is wrong
  [10 | (33 << 8)]: 'damaged', // IOERR_CORRUPTFS
}

const systemCodes: Readonly<Record<string, DatabaseFailure>> = {
  EACCES: 'read-only',
  EAGAIN: 'locked',
  EBUSY: 'locked',
  EDQUOT: 'full',
  EIO: 'io',
  EMFILE: 'io',
  ENFILE: 'io',
  ENOSPC: 'full',
  EPERM: 'read-only',
  EROFS: 'read-only',
}

/** Classifies an error of SQLite or the file system, and one that has such an error as its cause. */
export function databaseFailure(thrown: unknown): DatabaseFailure {
  if (thrown instanceof DatabaseError || thrown instanceof Finding) return thrown.reason
  if (!(thrown instanceof Error)) return 'other'
  const { errcode, code } = thrown as { errcode?: unknown; code?: unknown }
  if (typeof errcode === 'number') return extendedCodes[errcode] ?? sqliteCodes[errcode & 0xff] ?? 'other'
  const reason = typeof code === 'string' ? systemCodes[code] : undefined
  return reason ?? (thrown.cause === undefined ? 'other' : databaseFailure(thrown.cause))
}

const sentences: Readonly<Record<DatabaseFailure, (path: string) => string>> = {
  full: () => 'the disk is full: free space on it',
  damaged: path => `damaged: stop the program and move the file away ("mv ${path} ${path}.damaged"); a new one is made`,
  locked: path => `locked by another process: end that process ("fuser ${path}" names it)`,
  'read-only': path => `read-only: let this user write the file and its directory ("ls -ld ${path} ${dirname(path)}")`,
  io: path => `not readable: check the disk ("dmesg") and the directory ("ls -ld ${dirname(path)}")`,
  newer: () => 'written by a newer version: install that version again, or move the file away',
  other: path => `not usable as a database: check the path ("ls -l ${path}")`,
}

/** SQLite needs so much beside a file to open it: the index of the write-ahead log. */
const minFreeBytes = 65_536

/**
 * Wraps what a database threw: the message names the file, what is wrong with it and what mends it. `restore` replaces
 * the advice to move a damaged file away, for one whose contents have a copy. Errors with a code pass unchanged.
 */
export function toDatabaseError(thrown: unknown, path: string, restore?: string): FaultlineError {
  if (thrown instanceof FaultlineError) return thrown
  const reason = refine(databaseFailure(thrown), path)
  const found = thrown instanceof Error ? thrown.message : String(thrown)
  const advice = reason === 'damaged' && restore ? `damaged: ${restore}` : sentences[reason](path)
  return new DatabaseError(reason, `${path}: ${advice} (${found})`, { cause: thrown })
}

/** SQLite reports as an I/O error, or as a file that does not open, what has a simpler reason. */
function refine(reason: DatabaseFailure, path: string): DatabaseFailure {
  if (reason !== 'io' || path === ':memory:') return reason
  try {
    const { bavail, bsize } = statfsSync(dirname(path))
    if (bavail * bsize < minFreeBytes) return 'full'
    accessSync(dirname(path), constants.W_OK)
    return reason
  } catch (thrown) {
    return databaseFailure(thrown)
  }
}
