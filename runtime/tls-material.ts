import { readFileSync, unwatchFile, watchFile } from 'node:fs'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { isDeepStrictEqual } from 'node:util'
import { FaultlineError } from '@faultline/protocol'
import type { Logger } from './logger.ts'

/** PEM files. */
export interface TlsFiles {
  certificate: string
  key: string
  /** Of the authority that signs the certificates of clients. */
  ca?: string | undefined
}

/** What `tls.Server` takes. */
export type TlsContext = Pick<SecureContextOptions, 'cert' | 'key' | 'ca' | 'minVersion'>

/** How often the files are looked at, in ms. Looking finds a file that was replaced by renaming, too. */
const defaultLookMs = 2_000

/**
 * The certificate and key a server shows, and the authority it believes, as they are on disk now: when the files change
 * the next connection gets the new ones, and the open ones stay.
 */
export class TlsMaterial {
  private readonly files: TlsFiles
  private readonly logger: Logger
  private readonly lookMs: number
  private readonly listeners = new Set<(context: TlsContext) => void>()
  private current: TlsContext | undefined

  constructor(files: TlsFiles, logger: Logger, lookMs = defaultLookMs) {
    this.files = files
    this.logger = logger
    this.lookMs = lookMs
  }

  /** Throws `CERTIFICATE_INVALID`. */
  start(): void {
    this.current = this.read()
    for (const path of this.paths()) {
      watchFile(path, { interval: this.lookMs, persistent: false }, this.reload)
    }
  }

  stop(): void {
    for (const path of this.paths()) unwatchFile(path, this.reload)
    this.listeners.clear()
    this.current = undefined
  }

  /** As started. */
  get context(): TlsContext {
    if (!this.current) throw new FaultlineError('INTERNAL', 'TLS was not started')
    return this.current
  }

  onChange(listener: (context: TlsContext) => void): void {
    this.listeners.add(listener)
  }

  private paths(): string[] {
    const { certificate, key, ca } = this.files
    return [certificate, key, ...(ca === undefined ? [] : [ca])]
  }

  /** Certificate and key are written one after the other: in between they do not fit, and what there was stays. */
  private readonly reload = (): void => {
    let next: TlsContext
    try {
      next = this.read()
    } catch (thrown) {
      this.logger.warn({ error: (thrown as Error).message }, 'certificate not renewed')
      return
    }
    // The files were touched, or two of them changed at once.
    if (isDeepStrictEqual(next, this.current)) return
    this.current = next
    this.logger.info({ certificate: this.files.certificate }, 'certificate renewed')
    for (const listener of this.listeners) listener(next)
  }

  private read(): TlsContext {
    const { certificate, key, ca } = this.files
    const context: TlsContext = {
      cert: readPem(certificate),
      key: readPem(key),
      ...(ca !== undefined && { ca: readPem(ca) }),
      minVersion: 'TLSv1.2',
    }
    try {
      createSecureContext(context) // It knows whether they fit.
    } catch (cause) {
      throw new FaultlineError('CERTIFICATE_INVALID', `${certificate} and ${key}: ${(cause as Error).message}`, {
        cause,
      })
    }
    return context
  }
}

function readPem(path: string): string {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new FaultlineError('CERTIFICATE_INVALID', `cannot read ${path}: ${(cause as Error).message}`, { cause })
  }
  // A file that is just being written; to `createSecureContext` an empty text is none, and fits everything.
  if (text.trim() === '') throw new FaultlineError('CERTIFICATE_INVALID', `${path} is empty`)
  return text
}
