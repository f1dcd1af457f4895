import { escaped } from './plot.ts'
import { aligned } from './terminal.ts'

/** Figures as text, written the same way in terminal, page and report. */
export interface Table {
  title: string
  /** What the columns mean, where their names do not say it. */
  note?: string
  head: readonly string[]
  rows: readonly (readonly string[])[]
  /** Numbers of the rows that stand out. */
  strong?: readonly number[]
}

export function plainTable({ title, note, head, rows }: Table): string {
  return [title, ...(note ? [note] : []), aligned([head, ...rows])].join('\n\n')
}

export function markdownTable({ title, note, head, rows, strong = [] }: Table): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`
  const body = rows.map((row, i) => line(strong.includes(i) ? row.map(cell => (cell ? `**${cell}**` : '')) : row))
  return [`## ${title}`, '', ...(note ? [note, ''] : []), line(head), line(head.map(() => '---')), ...body].join('\n')
}

export function htmlTable({ head, rows, strong = [] }: Table): string {
  const cells = (row: readonly string[]) => row.map(cell => `<td>${escaped(cell)}</td>`).join('')
  const body = rows.map((row, i) => `<tr${strong.includes(i) ? ' class="together"' : ''}>${cells(row)}</tr>`)
  const names = head.map(name => `<th>${escaped(name)}</th>`).join('')
  return `<div class="scroll"><table class="figures"><thead><tr>${names}</tr></thead><tbody>${body.join('')}</tbody></table></div>`
}

const START = '<!-- figures: written by the command above -->'
const END = '<!-- end of figures -->'

/** A page with the figures between its two marks exchanged; figures alone where the page has none. */
export function filledPage(page: string, figures: string): string {
  const [from, to] = [page.indexOf(START), page.indexOf(END)]
  const block = `${START}\n\n${figures.trim()}\n\n${END}`
  return from < 0 || to < from ? `${block}\n` : `${page.slice(0, from)}${block}${page.slice(to + END.length)}`
}
