/** A value as code; a bar would end the cell of a table. */
export const code = (text: string): string => `\`${text.replaceAll('|', '\\|')}\``

/** Lines of text in a fence. */
export const block = (language: string, text: string): string => `\`\`\`${language}\n${text.trimEnd()}\n\`\`\``

const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`

export const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n')

/** A page of the reference that is written by `npm run docs`. `source` is what to edit instead. */
export const page = (title: string, source: string, sections: readonly string[]): string =>
  `${[`# ${title}`, `<!-- Written by \`npm run docs\` from ${source}. Do not edit. -->`, ...sections].join('\n\n')}\n`
