/**
 * One line of CSV (RFC 4180); nothing is an empty cell. A text that a spreadsheet would take for a formula gets an apostrophe before it:
 * devices choose their ids.
 */
export function csvLine(cells: readonly (string | number | null | undefined)[]): string {
  const texts = cells.map(cell => {
    const text = typeof cell === 'string' && /^[=+@\t-]/.test(cell) ? `'${cell}` : String(cell ?? '')
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
  })
  return `${texts.join(',')}\n`
}
