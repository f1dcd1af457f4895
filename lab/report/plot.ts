/** An axis: what it shows, from where to where. */
export interface Axis {
  label: string
  domain: readonly [number, number]
  scale?: 'linear' | 'log'
  /** Places of ticks; round ones when absent. */
  ticks?: readonly number[]
  format?: (value: number) => string
}

export interface XY {
  x: number
  y: number
}

/** Something drawn, in the plot's own coordinates; later ones lie on top. */
export type Mark =
  | { kind: 'line'; points: readonly XY[]; colour: string; width?: number; dashed?: boolean }
  | { kind: 'dot'; at: XY; colour: string; radius?: number; title?: string }
  | { kind: 'rule'; x?: number; y?: number; colour: string; dashed?: boolean; label?: string }
  | { kind: 'band'; from: number; to: number; colour: string; label?: string }
  | { kind: 'text'; at: XY; text: string; colour?: string; anchor?: 'start' | 'middle' | 'end'; dy?: number }

export interface PlotOptions {
  /** What the plot shows, for those who cannot see it. */
  title: string
  x: Axis
  y: Axis
  marks: readonly Mark[]
  width?: number
  height?: number
}

const MARGIN = { top: 16, right: 24, bottom: 40, left: 54 }

/** A plot as an SVG element: axes, a light grid, the marks. Its size follows the page. */
export function plot({ title, x, y, marks, width = 440, height = 280 }: PlotOptions): string {
  const [left, right] = [MARGIN.left, width - MARGIN.right]
  const [top, bottom] = [MARGIN.top, height - MARGIN.bottom]
  const px = scaleOf(x, left, right)
  const py = scaleOf(y, bottom, top)
  const xTicks = (x.ticks ?? ticksOf(x)).map(
    tick =>
      `<line class="grid" x1="${px(tick)}" x2="${px(tick)}" y1="${top}" y2="${bottom}"/>` +
      `<text class="tick" x="${px(tick)}" y="${bottom + 15}" text-anchor="middle">${escaped(labelOf(x, tick))}</text>`,
  )
  const yTicks = (y.ticks ?? ticksOf(y)).map(
    tick =>
      `<line class="grid" x1="${left}" x2="${right}" y1="${py(tick)}" y2="${py(tick)}"/>` +
      `<text class="tick" x="${left - 6}" y="${py(tick) + 3.5}" text-anchor="end">${escaped(labelOf(y, tick))}</text>`,
  )
  const id = `clip${nextId++}`
  const frame = { px, py, left, right, top, bottom }
  const [behind, front] = [marks.filter(mark => mark.kind === 'band'), marks.filter(mark => mark.kind !== 'band')]
  return [
    `<svg class="plot" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(title)}">`,
    `<clipPath id="${id}"><rect x="${left}" y="${top - 1}" width="${right - left}" height="${bottom - top + 2}"/></clipPath>`,
    ...behind.map(mark => drawn(mark, frame)),
    ...xTicks,
    ...yTicks,
    `<line class="axis" x1="${left}" x2="${right}" y1="${bottom}" y2="${bottom}"/>`,
    `<text class="label" x="${(left + right) / 2}" y="${height - 6}" text-anchor="middle">${escaped(x.label)}</text>`,
    `<text class="label" x="12" y="${(top + bottom) / 2}" text-anchor="middle" transform="rotate(-90 12 ${(top + bottom) / 2})">${escaped(y.label)}</text>`,
    `<g clip-path="url(#${id})">`,
    ...front.filter(isClipped).map(mark => drawn(mark, frame)),
    '</g>',
    ...front.filter(mark => !isClipped(mark)).map(mark => drawn(mark, frame)),
    '</svg>',
  ].join('')
}

/** Lines end at the axes; a dot on an axis stays whole. */
function isClipped({ kind }: Mark): boolean {
  return kind === 'line' || kind === 'rule'
}

/** Ids of clip paths are of the whole page. */
let nextId = 0

interface Frame {
  px: (value: number) => number
  py: (value: number) => number
  left: number
  right: number
  top: number
  bottom: number
}

function drawn(mark: Mark, { px, py, left, right, top, bottom }: Frame): string {
  switch (mark.kind) {
    case 'line': {
      const path = mark.points.map(({ x, y }) => `${px(x)},${py(y)}`).join(' ')
      const dash = mark.dashed ? ' stroke-dasharray="4 3"' : ''
      return `<polyline points="${path}" fill="none" stroke="${mark.colour}" stroke-width="${mark.width ?? 1.8}" stroke-linejoin="round"${dash}/>`
    }
    case 'dot': {
      const title = mark.title ? `<title>${escaped(mark.title)}</title>` : ''
      return `<circle cx="${px(mark.at.x)}" cy="${py(mark.at.y)}" r="${mark.radius ?? 4}" fill="${mark.colour}" stroke="#fff" stroke-width="1.2">${title}</circle>`
    }
    case 'rule': {
      const dash = mark.dashed ? ' stroke-dasharray="4 3"' : ''
      const style = `stroke="${mark.colour}" stroke-width="1.3"${dash}`
      if (mark.x !== undefined) {
        const text = mark.label
          ? `<text class="note" x="${px(mark.x) + 3}" y="${top + 9}" style="fill:${mark.colour}">${escaped(mark.label)}</text>`
          : ''
        return `<line x1="${px(mark.x)}" x2="${px(mark.x)}" y1="${top}" y2="${bottom}" ${style}/>${text}`
      }
      const at = py(mark.y ?? 0)
      const text = mark.label
        ? `<text class="note" x="${right - 3}" y="${at - 4}" text-anchor="end" style="fill:${mark.colour}">${escaped(mark.label)}</text>`
        : ''
      return `<line x1="${left}" x2="${right}" y1="${at}" y2="${at}" ${style}/>${text}`
    }
    case 'band': {
      const [from, to] = [px(mark.from), px(mark.to)]
      const text = mark.label
        ? `<text class="note" x="${(from + to) / 2}" y="${bottom - 6}" text-anchor="middle">${escaped(mark.label)}</text>`
        : ''
      return `<rect x="${from}" y="${top}" width="${rounded(to - from)}" height="${bottom - top}" fill="${mark.colour}"/>${text}`
    }
    case 'text':
      return `<text class="note" x="${px(mark.at.x)}" y="${py(mark.at.y) + (mark.dy ?? 0)}" text-anchor="${mark.anchor ?? 'middle'}" style="fill:${mark.colour ?? '#333'}">${escaped(mark.text)}</text>`
  }
}

function scaleOf({ domain, scale }: Axis, start: number, end: number): (value: number) => number {
  const along = scale === 'log' ? Math.log10 : (value: number) => value
  const [low, high] = [along(domain[0]), along(domain[1])]
  return value => rounded(start + ((along(value) - low) / (high - low)) * (end - start))
}

/** About five round places: 1, 2 or 5 times a power of ten, on a logarithmic axis or as steps of a linear one. */
function ticksOf({ domain: [low, high], scale }: Axis): number[] {
  if (scale === 'log') {
    const powers = Array.from(
      { length: Math.ceil(Math.log10(high / low)) + 2 },
      (_, i) => Math.floor(Math.log10(low)) + i,
    )
    return powers.flatMap(power => [1, 2, 5].map(factor => factor * 10 ** power)).filter(at => at >= low && at <= high)
  }
  const rough = (high - low) / 5
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = power * ([1, 2, 5].find(factor => factor * power >= rough) ?? 10)
  const first = Math.ceil(low / step - 1e-9)
  const count = Math.floor(high / step + 1e-9) - first + 1
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(10)))
}

function labelOf({ format }: Axis, value: number): string {
  return format ? format(value) : String(Number(value.toPrecision(6)))
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100
}

export function escaped(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;')
}
