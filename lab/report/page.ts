import { percent } from './figures.ts'
import { escaped } from './plot.ts'
import { style } from './style.ts'

/** A report as one page that asks for nothing from outside. Empty parts are left out. */
export function page(title: string, ...parts: readonly string[]): string {
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>${escaped(title)}</title><style>${style}</style></head><body><main>`,
    ...parts.filter(part => part !== ''),
    '</main></body></html>\n',
  ].join('\n')
}

/** A part of the page; `lead` and `content` are HTML. */
export function section(title: string, lead: string, ...content: string[]): string {
  const text = lead === '' ? '' : `<p class="lead">${lead}</p>`
  return `<section><h2>${title}</h2>${text}${content.join('')}</section>`
}

export function figure(caption: string, chart: string, className = ''): string {
  return `<figure class="${className}">${chart}<figcaption>${escaped(caption)}</figcaption></figure>`
}

export function legend(entries: readonly (readonly [string, string])[]): string {
  const items = entries.map(([name, colour]) => `<li><i style="background:${colour}"></i>${escaped(name)}</li>`)
  return `<ul class="legend">${items.join('')}</ul>`
}

/** A confusion matrix: rows are true classes, columns answers, colours shares of the row. */
export function matrix(counts: readonly (readonly number[])[], classes: readonly string[]): string {
  const head = `<tr><th></th>${classes.map(name => `<th>${escaped(name)}</th>`).join('')}</tr>`
  const body = counts.map((row, truth) => {
    const total = row.reduce((a, b) => a + b, 0)
    const cells = row.map((count, answer) => {
      const part = total > 0 ? count / total : 0
      const hue = truth === answer ? '0, 158, 115' : '213, 94, 0'
      const text = total > 0 ? percent(part, part > 0 && part < 0.1 ? 1 : 0) : ''
      return `<td title="${count} of ${total}" style="background:rgba(${hue}, ${(0.75 * Math.sqrt(part)).toFixed(2)})">${text}</td>`
    })
    return `<tr><th>${escaped(classes[truth]!)}</th>${cells.join('')}</tr>`
  })
  return `<table class="matrix"><thead>${head}</thead><tbody>${body.join('')}</tbody></table>`
}
