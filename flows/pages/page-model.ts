import type { Look } from '../dashboard/look.ts'
import type { Row, Update } from '../dashboard/viewers.ts'

/** What every page shows, whatever else its node sends: see `View` of `flows/dashboard`. */
export interface Shown {
  rows: Row[]
  /** Whether the flows are connected to the broker. */
  connected?: boolean
  /** The page has lost the server: what it shows is old. */
  isLost?: boolean
}

/** The part of a view that its node sends by name, and the lines of its list. */
export type ViewOf<Line extends Row, Parts> = Shown & Parts & { rows: Line[] }

export type AskedLook = Partial<Look>

/** Which alarm somebody does something with. */
export type AlarmName = Record<'site' | 'machine' | 'fault', string>

/** What a node sends to a page. A catch node of the flow puts the error into the message that it came from. */
interface Heard {
  topic?: string
  payload?: unknown
  error?: { message: string }
}

interface PageOptions {
  look: AskedLook
  /** Sends a message to the node behind the page. */
  send: (message: object) => void
  /** Whether somebody can see the page. */
  isVisible: () => boolean
}

/**
 * What a page knows and asks for. It says what it shows, hears what has changed in that, and puts both together. Its fields
 * are replaced, never changed inside, so that `shallowReactive` sees every change. No DOM, no timers.
 */
export class PageModel {
  view: Shown | null = null
  look: AskedLook
  /** What was asked for and refused. */
  trouble = ''
  now = Date.now()
  private version = 0
  private readonly options: PageOptions

  constructor(options: PageOptions) {
    this.options = options
    this.look = options.look
  }

  send(message: object): void {
    this.options.send(message)
  }

  /** Says what the page shows, which also says that it is still there. A page that is not visible says nothing. */
  ask(): void {
    if (this.options.isVisible()) this.send({ topic: 'look', payload: { ...this.look, version: this.version } })
  }

  /** Asks for everything, as after a connection that was lost. */
  lookAnew(): void {
    this.version = 0
    this.ask()
  }

  /** What the page shows is old until it is connected again. */
  lose(): void {
    if (this.view) this.view = { ...this.view, isLost: true }
  }

  /** Every second: the time, and every fifth time that the page is still there. */
  tick(now: number): void {
    this.now = now
    if (Math.floor(now / 1000) % 5 === 0) this.ask()
  }

  /** Shows another part of the list. */
  show(change: AskedLook): void {
    this.look = { ...this.look, from: 0, ...change }
    this.ask()
  }

  /** Opens a row of the list, or closes it; the part of the list that is shown, from `from` on, stays. */
  toggle(key: string, from: number): void {
    this.show({ open: this.look.open === key ? '' : key, from })
  }

  sortBy(sort: string): void {
    const descending = this.look.sort === sort && !this.look.descending
    this.show({ sort: this.look.sort === sort && this.look.descending ? '' : sort, descending })
  }

  sorted(sort: string): 'none' | 'ascending' | 'descending' {
    if (this.look.sort !== sort) return 'none'
    return this.look.descending ? 'descending' : 'ascending'
  }

  /** What the page asked for and did not get, or what has changed in what it sees. */
  hear(message: Heard): void {
    // A catch node puts the error's class before what it says.
    if (message.error) this.trouble = message.error.message.replace(/^\w*Error: /, '')
    else if (message.topic === 'view') this.apply(message.payload as Update)
  }

  /** What a person does with an alarm goes to the alarm node. */
  act(topic: string, { site, machine, fault }: AlarmName, more: object = {}): void {
    this.request({ topic, payload: { site, machine, fault, ...more } })
  }

  /** Asks for something, and forgets what was refused before. */
  request(message: object): void {
    this.trouble = ''
    this.send(message)
  }

  private apply({ version, follows, order, rows, parts }: Update): void {
    if (follows !== 0 && follows !== this.version) {
      this.lookAnew()
      return
    }
    const before = follows === 0 ? [] : (this.view?.rows ?? [])
    const byKey = new Map([...before, ...rows].map(row => [row.key, row]))
    const keys = order ?? before.map(row => row.key)
    const kept = follows === 0 ? {} : this.view
    this.view = { ...kept, ...parts, rows: keys.flatMap(key => byKey.get(key) ?? []) }
    this.version = version
  }
}
