import { z } from 'zod'

/** Rows that a page can ask for at once. */
const mostRows = 200

/** What a page wants to see of its list: found, sorted and cut here, so that a browser holds one page of a large fleet. */
export const look = z.strictObject({
  /** Text that a row has to contain. */
  find: z.string().max(100).default(''),
  /** A group of rows, by a name that the view gives it; all of them when empty. */
  show: z.string().max(64).default(''),
  site: z.string().max(64).default(''),
  /** A column of the view; its own order when empty. */
  sort: z.string().max(32).default(''),
  descending: z.boolean().default(false),
  from: z.int().nonnegative().default(0),
  rows: z.int().min(1).max(mostRows).default(50),
  /** Key of the row that is open. */
  open: z.string().max(400).default(''),
  /** Of the view that the page has; 0 for none. */
  version: z.int().nonnegative().default(0),
})

export type Look = z.infer<typeof look>
export type Cell = string | number | boolean | null | undefined

/** How a view finds and orders its items. */
export interface Listing<Item> {
  /** What is looked for in an item. */
  text: (item: Item) => string
  site: (item: Item) => string
  shows: (item: Item, group: string) => boolean
  columns: Readonly<Record<string, (item: Item) => Cell>>
  /** The view's own order, and that of items which a column does not tell apart. */
  order: (a: Item, b: Item) => number
}

const collator = new Intl.Collator('en', { numeric: true })

/** Texts as people count: press-9 before press-10. */
export const compareTexts = (a: string, b: string): number => collator.compare(a, b)

/** The items a look asks for, and of how many they are a part. A page that has become shorter begins where there is something. */
export function pageOf<Item>(
  items: readonly Item[],
  { find, show, site, sort, descending, from, rows }: Look,
  listing: Listing<Item>,
): { items: Item[]; from: number; matching: number } {
  const words = find.toLowerCase().split(/\s+/).filter(Boolean)
  const found = items.filter(item => {
    if (site !== '' && listing.site(item) !== site) return false
    if (show !== '' && !listing.shows(item, show)) return false
    if (words.length === 0) return true
    const text = listing.text(item).toLowerCase()
    return words.every(word => text.includes(word))
  })
  const column = Object.hasOwn(listing.columns, sort) ? listing.columns[sort] : undefined
  const sign = descending ? -1 : 1
  found.sort((a, b) => (column ? compareCells(column(a), column(b), sign) : 0) || listing.order(a, b))
  const start = from < found.length ? from : Math.max(0, Math.floor((found.length - 1) / rows) * rows)
  return { items: found.slice(start, start + rows), from: start, matching: found.length }
}

/** What is not known comes last, whichever way the others go. */
function compareCells(a: Cell, b: Cell, sign: number): number {
  const [isLate, isEarly] = [a === null || a === undefined, b === null || b === undefined]
  if (isLate || isEarly) return Number(isLate) - Number(isEarly)
  if (typeof a === 'string' && typeof b === 'string') return sign * compareTexts(a, b)
  return sign * (Number(a) - Number(b))
}
