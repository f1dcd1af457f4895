import { promisify } from 'node:util'
import { constants, gzip } from 'node:zlib'
import { FaultlineError } from '@faultline/protocol'
import { InfluxDB, type IQueryOptions, type IResults } from 'influx'
import { Pool } from 'influx/lib/src/pool.js'
import { StoreError, storeRequest } from '../store.ts'

export interface InfluxClientOptions {
  /** `http://host:8086`; a path and credentials may be part of it. */
  url: string
  database: string
  username?: string
  password?: string
  /** Of InfluxDB 2.x and 3.x, in place of a user. */
  token?: string
}

const requestTimeoutMs = 10_000
/** Smaller bodies are not worth the processor. */
const gzipFromBytes = 1_000
const compress = promisify(gzip)

/** The recorder waits between attempts itself; the client's own back-off would refuse requests meanwhile. */
const noBackOff = { getDelay: () => 0, next: () => noBackOff, reset: () => noBackOff }

/**
 * The 1.x API of an InfluxDB: its `/query` through the client of the `influx` package, its `/write` through the same
 * package's connection pool, because the client itself neither compresses nor says what a token needs.
 */
export class InfluxClient {
  readonly address: string
  private readonly database: string
  private readonly client: InfluxDB
  private readonly writer: Pool
  private readonly auth: string | undefined

  /** Throws `CONFIG_INVALID` for an address that is none. */
  constructor(options: InfluxClientOptions) {
    const url = parseUrl(options.url)
    const https = url.protocol === 'https:'
    const { database, token } = options
    const username = options.username ?? (url.username ? decodeURIComponent(url.username) : undefined)
    const password = options.password ?? (url.password ? decodeURIComponent(url.password) : undefined)
    const host = {
      host: url.hostname,
      port: Number(url.port || (https ? 443 : 80)),
      protocol: https ? ('https' as const) : ('http' as const),
      path: url.pathname.replace(/\/+$/, ''),
      options: { headers: token === undefined ? {} : { authorization: `Token ${token}` } },
    }
    const pool = { maxRetries: 0, requestTimeout: requestTimeoutMs, backoff: noBackOff }
    this.address = url.host
    this.database = database
    // Without a user the client would say root:root; a token is then overwritten.
    const user = username !== undefined && token === undefined ? { username, password: password ?? '' } : noUser
    this.auth = user.username === null ? undefined : `${user.username}:${user.password}`
    this.client = new InfluxDB({ hosts: [host], database, pool, ...(user as { username: string; password: string }) })
    this.writer = new Pool(pool)
    this.writer.addHost(`${host.protocol}://${host.host}:${host.port}${host.path}`, host.options)
  }

  /** Throws `StoreError`, as do all. */
  query(text: string, options: IQueryOptions = {}): Promise<IResults<Record<string, unknown>>> {
    return this.request(() => this.client.query<Record<string, unknown>>(text, options))
  }

  /** A statement that changes something, which InfluxDB takes from a POST only. */
  async command(text: string): Promise<Record<string, unknown>[]> {
    return this.request(() =>
      this.client.query<Record<string, unknown>>(text, { method: 'POST', database: this.database }),
    )
  }

  /** Writes lines with times in nanoseconds into the default retention policy. */
  async write(lines: readonly string[]): Promise<void> {
    const text = Buffer.from(lines.join('\n'))
    const zipped = text.length >= gzipFromBytes
    const body = zipped ? await compress(text, { level: constants.Z_BEST_SPEED }) : text
    await this.request(() =>
      this.writer.discard({
        method: 'POST',
        path: '/write',
        query: { db: this.database, precision: 'ns' },
        // The pool writes whatever a request can be written with; its type knows of text only.
        body: body as unknown as string,
        headers: { 'content-type': 'text/plain; charset=utf-8', ...(zipped && { 'content-encoding': 'gzip' }) },
        auth: this.auth,
      }),
    )
  }

  private request<T>(work: () => Promise<T>): Promise<T> {
    return storeRequest(`influx at ${this.address}`, async () => {
      try {
        return await work()
      } catch (error) {
        if (!isRefusal(statusOf(error))) throw error
        throw new StoreError(`influx at ${this.address}: ${(error as Error).message}`, {
          cause: error,
          retryable: false,
        })
      }
    })
  }
}

const noUser = { username: null, password: null }

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url
  throw new FaultlineError('CONFIG_INVALID', 'the address of InfluxDB must be like http://host:8086')
}

/** 400, 413 and 422 speak of the request itself; everything else (rights, load, outage) may pass. */
const isRefusal = (status: number | undefined): boolean => status === 400 || status === 413 || status === 422

/** The HTTP status of a refused request, read from the client's error or from the cause of ours. */
export function statusOf(error: unknown): number | undefined {
  const own = error instanceof StoreError ? error.cause : error
  return (own as { res?: { statusCode?: number } } | undefined)?.res?.statusCode
}
