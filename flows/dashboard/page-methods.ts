import type { Look } from './look.ts'
import type { Row, Update } from './viewers.ts'

/** What the methods below need of the page that they stand in. */
interface Page {
  id: string
  $socket: { on(event: string, hear: unknown): void; off(event: string, hear: unknown): void }
  send(message: unknown): void
  now: number
  clock: ReturnType<typeof setInterval> | undefined
  look: Partial<Look>
  view: (Record<string, unknown> & { rows: Row[]; from?: number }) | null
  version: number
  trouble: string
}

interface CommentForm {
  elements: { comment: { value: string } }
  reset(): void
}

/** Those of the methods that call each other. */
interface Methods {
  hear(message: unknown): void
  ask(): void
  lookAnew(): void
  lose(): void
  show(change: Partial<Look>): void
  apply(update: Update): void
  act(topic: string, alarm: unknown, more?: object): void
  scaled(amount: number | null | undefined, units: string[]): string
  duration(seconds: number): string
}

/** The browser's; the project's types know no browser. */
declare const document: {
  readonly hidden: boolean
  addEventListener(event: string, hear: unknown): void
  removeEventListener(event: string, hear: unknown): void
}

/**
 * Methods of every page of the dashboard. `build.ts` puts them into each: a page's script is one object literal, because
 * the dashboard takes no imports and no mixins.
 */
export default {
  /** Listens, and looks: from now on the page is told what changes. */
  begin() {
    this.$socket.on(`msg-input:${this.id}`, this.hear)
    this.$socket.on('connect', this.lookAnew)
    this.$socket.on('disconnect', this.lose)
    document.addEventListener('visibilitychange', this.ask)
    this.clock = setInterval(() => {
      this.now = Date.now()
      if (Math.floor(this.now / 1000) % 5 === 0) this.ask()
    }, 1000)
    this.lookAnew()
  },
  end() {
    clearInterval(this.clock)
    this.$socket.off('connect', this.lookAnew)
    this.$socket.off('disconnect', this.lose)
    document.removeEventListener('visibilitychange', this.ask)
  },
  /** What the page shows is old until it is connected again, and gets all of it. */
  lose() {
    if (this.view) this.view = { ...this.view, isLost: true }
  },
  lookAnew() {
    this.version = 0
    this.ask()
  },
  /** Says what the page shows, which also says that it is still there. A page that nobody sees says nothing. */
  ask() {
    if (!document.hidden) this.send({ topic: 'look', payload: { ...this.look, version: this.version } })
  },
  /** Shows another part of the list. */
  show(change: Partial<Look>) {
    this.look = { ...this.look, from: 0, ...change }
    this.ask()
  },
  /** Opens a row of the list, or closes it; the part of the list that is shown stays. */
  toggle(key: string) {
    this.show({ open: this.look.open === key ? '' : key, from: this.view!.from })
  },
  sortBy(sort: string) {
    const descending = this.look.sort === sort && !this.look.descending
    this.show({ sort: this.look.sort === sort && this.look.descending ? '' : sort, descending })
  },
  sorted(sort: string) {
    if (this.look.sort !== sort) return 'none'
    return this.look.descending ? 'descending' : 'ascending'
  },
  /** What the page asked for and did not get, or what has changed in what it sees. */
  hear(message: { topic?: string; payload: Update; error?: { message: string } }) {
    // A catch node puts the error's class before what it says.
    if (message.error) this.trouble = message.error.message.replace(/^\w*Error: /, '')
    else if (message.topic === 'view') this.apply(message.payload)
  },
  apply({ version, follows, order, rows, parts }: Update) {
    if (follows !== 0 && follows !== this.version) return this.lookAnew()
    const before = follows === 0 ? [] : (this.view?.rows ?? [])
    const byKey = new Map([...before, ...rows].map(row => [row.key, row]))
    const keys = order ?? before.map(row => row.key)
    const kept = follows === 0 ? {} : this.view
    this.view = { ...kept, ...parts, rows: keys.flatMap(key => byKey.get(key) ?? []) }
    this.version = version
  },
  /** The page of a machine. */
  pageOf({ site, machine }: Record<'site' | 'machine', string>) {
    return `machine?${new URLSearchParams({ site, machine })}`
  },
  needsAttention({ state }: { state: string }) {
    return state === 'unacknowledged' || state === 'returned-unacknowledged'
  },
  alarmTone({ state }: { state: string }) {
    if (state === 'unacknowledged') return 'is-alarm'
    return state === 'acknowledged' ? 'is-held' : 'is-over'
  },
  /** What a person does with an alarm goes to the alarm node. */
  act(topic: string, { site, machine, fault }: Record<'site' | 'machine' | 'fault', string>, more = {}) {
    this.trouble = ''
    this.send({ topic, payload: { site, machine, fault, ...more } })
  },
  shelve(alarm: Record<'site' | 'machine' | 'fault', string>, select: { value: string }) {
    const minutes = Number(select.value)
    select.value = ''
    if (minutes > 0) this.act('shelve', alarm, { minutes })
  },
  comment(alarm: Record<'site' | 'machine' | 'fault', string>, form: CommentForm) {
    const comment = form.elements.comment.value.trim()
    form.reset()
    if (comment !== '') this.act('comment', alarm, { comment })
  },
  words(label: string) {
    const text = label.replace(/[-_]+/g, ' ')
    return text.charAt(0).toUpperCase() + text.slice(1)
  },
  percent(share: number | null | undefined) {
    if (share === null || share === undefined) return '–'
    const value = share * 100
    return `${value > 0 && value < 10 ? value.toFixed(1) : Math.round(value)} %`
  },
  number(value: number) {
    return value.toLocaleString('en-GB')
  },
  /** To three digits, as a reader of an instrument would say it. */
  short(value: number | null | undefined) {
    return value === undefined || value === null ? '–' : String(Number(value.toPrecision(3)))
  },
  size(bytes: number | null | undefined) {
    return this.scaled(bytes, ['B', 'kB', 'MB', 'GB', 'TB'])
  },
  energy(joules: number | null | undefined) {
    return this.scaled(joules, ['J', 'kJ', 'MJ', 'GJ'])
  },
  scaled(amount: number | null | undefined, units: string[]) {
    if (amount === null || amount === undefined) return '–'
    let value = amount
    let unit = 0
    while (Math.abs(value) >= 1000 && unit < units.length - 1) {
      value /= 1000
      unit++
    }
    return `${(unit > 0 && value < 100) || (value > 0 && value < 10) ? value.toFixed(1) : Math.round(value)} ${units[unit]}`
  },
  duration(seconds: number) {
    if (seconds < 60) return `${Math.round(seconds)} s`
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
    if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`
    return `${Math.floor(seconds / 86_400)} d`
  },
  ago(time: string) {
    return `${this.duration(Math.max(0, Math.round((this.now - Date.parse(time)) / 1000)))} ago`
  },
  /** Of today the time, of another day the date before it. */
  moment(at: string) {
    const date = new Date(at)
    const isToday = date.toDateString() === new Date(this.now).toDateString()
    const day = isToday ? '' : `${date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })} `
    return day + date.toLocaleTimeString('en-GB')
  },
  clockTime(at: string) {
    return new Date(at).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })
  },
} satisfies Record<string, unknown> & ThisType<Page & Methods>
