import { RecentMap } from '../recent-map.ts'
import type { Look } from './look.ts'

/** A line of a page's list. */
export interface Row {
  key: string
}

/** What a page shows: its lines in order, and all else by name. */
export interface View {
  rows: readonly Row[]
  parts: Readonly<Record<string, unknown>>
}

/** What takes a page from one version of its view to the next. */
export interface Update {
  version: number
  /** The version that this changes; 0: it is the whole view. */
  follows: number
  /** Keys of the lines in order; absent where these are the same as before. */
  order?: string[]
  /** Lines that are new or have changed. */
  rows: Row[]
  /** Parts that have changed. */
  parts: Record<string, unknown>
}

export interface ViewersOptions {
  viewOf: (look: Look) => View
  send: (client: string, update: Update) => void
  /** A view could not be made. */
  onError: (error: unknown) => void
  /** Least time from one update to the next, in ms. */
  intervalMs: number
}

interface Viewer {
  look: Look
  seenAt: number
  version: number
  order: string
  rows: Map<string, string>
  parts: Map<string, string>
}

/** A page that is open says so every few seconds; one that has not for so long is closed. */
const patienceMs = 20_000
/** Browsers that are served at the same time; those heard of last. */
const mostViewers = 200
/** Messages come in bursts: what follows a message so soon goes out with it. */
const burstMs = 40

/**
 * The browsers that look at a page. Each has its own part of the list before it and hears only what has changed in that, at
 * most once per interval; nothing is computed while nobody looks.
 */
export class Viewers {
  private readonly options: ViewersOptions
  private readonly viewers = new RecentMap<Viewer>({ limit: mostViewers, isHeld: () => false })
  private timer: NodeJS.Timeout | undefined
  private sentAt = Number.NEGATIVE_INFINITY

  constructor(options: ViewersOptions) {
    this.options = options
  }

  /** A page asks, or says that it still looks. It is answered at once, with the whole view where it has another than the last. */
  look(client: string, look: Look): void {
    const known = this.viewers.get(client)
    const isKnown = known !== undefined && look.version === known.version
    const isSame = isKnown && JSON.stringify(look) === JSON.stringify({ ...known.look, version: look.version })
    const version = known?.version ?? 0
    const viewer = isKnown ? known : { look, seenAt: 0, version, order: '', rows: new Map(), parts: new Map() }
    viewer.look = look
    viewer.seenAt = performance.now()
    this.viewers.set(client, viewer)
    // Who only says that they are there is served with everybody else.
    if (!isSame) this.update(client, viewer, isKnown)
  }

  /** Something may look different now. */
  touch(): void {
    if (this.timer || this.viewers.size === 0) return
    const wait = Math.max(burstMs, this.sentAt + this.options.intervalMs - performance.now())
    this.timer = setTimeout(() => this.flush(), wait)
  }

  /** Nobody is sent anything any more. */
  stop(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    for (const [client] of [...this.viewers.entries()]) this.viewers.delete(client)
  }

  private flush(): void {
    this.timer = undefined
    this.sentAt = performance.now()
    for (const [client, viewer] of [...this.viewers.entries()]) {
      if (this.sentAt - viewer.seenAt >= patienceMs) this.viewers.delete(client)
      else this.serve(client, viewer)
    }
  }

  private serve(client: string, viewer: Viewer): void {
    try {
      this.update(client, viewer, true)
    } catch (error) {
      this.options.onError(error)
    }
  }

  private update(client: string, viewer: Viewer, isKnown: boolean): void {
    const { rows, parts } = this.options.viewOf(viewer.look)
    const lines = rows.map(row => [row, JSON.stringify(row)] as const)
    const order = rows.map(({ key }) => key)
    const changedRows = lines.filter(([{ key }, text]) => viewer.rows.get(key) !== text).map(([row]) => row)
    const changedParts = Object.entries(parts).filter(([name, value]) => {
      const text = JSON.stringify(value) ?? ''
      const isSame = viewer.parts.get(name) === text
      viewer.parts.set(name, text)
      return !isSame
    })
    const isReordered = viewer.order !== order.join('\n')
    if (isKnown && !isReordered && changedRows.length === 0 && changedParts.length === 0) return
    viewer.rows = new Map(lines.map(([{ key }, text]) => [key, text]))
    viewer.order = order.join('\n')
    const follows = isKnown ? viewer.version : 0
    viewer.version++
    this.options.send(client, {
      version: viewer.version,
      follows,
      ...((isReordered || !isKnown) && { order }),
      rows: changedRows,
      parts: Object.fromEntries(changedParts),
    })
  }
}
