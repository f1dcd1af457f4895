/** One line of CSV (RFC 4180); nothing is an empty cell. */
export function csvLine(cells: readonly (string | number | null | undefined)[]): string {
  const texts = cells.map(cell => {
    const text = String(cell ?? '')
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
  })
  return `${texts.join(',')}\n`
}
