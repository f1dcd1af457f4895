import { percent, whole } from '../../report/figures.ts'
import { SHIPPED_PRICE } from '../pair.ts'
import type { PriceRange } from './break-even.ts'
import type { ImageEvaluation } from './evaluation.ts'
import { ms } from './tables.ts'
import { rowOf, waysOver } from './ways.ts'

/** What the figures say, in sentences that are true of them whatever they are. */
export function findingsOf(evaluation: ImageEvaluation): string[] {
  return [accuracy(evaluation), cost(evaluation), ...evaluation.links.map(link => time(link, evaluation))]
}

function accuracy(evaluation: ImageEvaluation): string {
  const [never, always, both] = (['never', 'always', 'default'] as const).map(method =>
    rowOf(evaluation, method, SHIPPED_PRICE),
  )
  const wrong = whole(
    evaluation.confusion.both.reduce((sum, row, i) => sum + row.reduce((a, b) => a + b, 0) - row[i]!, 0),
  )
  return `At b = ${SHIPPED_PRICE} the default policy sends ${percent(both!.sent.value)} of ${whole(evaluation.images)} images and is right on ${percent(both!.accuracy.value)} (${wrong} wrong): the local model alone on ${percent(never!.accuracy.value)}, the server on ${percent(always!.accuracy.value)}.`
}

function cost({ pays }: ImageEvaluation): string {
  const range = (found: PriceRange | null, digits: number) =>
    found ? `from b = ${found.from.toFixed(digits)} to ${found.to.toFixed(digits)}` : 'at no price'
  return `Cheaper than both never and always escalating: the default policy ${range(pays.default, 2)}, the calibrated threshold ${range(pays.calibrated, 2)}, the bundle's fixed threshold ${range(pays.threshold, 3)}.`
}

function time(link: ImageEvaluation['links'][number], evaluation: ImageEvaluation): string {
  const { both, sent, always, cut, whole } = waysOver(link, evaluation)
  const said = `${link.name}: an answer takes ${ms(both.latencyMs)} on average with hierarchical inference (${ms(sent.latencyMs)} where the image is sent), ${ms(always.latencyMs)} when all are sent`
  if (!cut) return `${said}.`
  const fastest = Math.min(cut.latencyMs, always.latencyMs, whole.latencyMs)
  const verdict =
    fastest === cut.latencyMs
      ? 'faster than the network uncut on either side'
      : fastest === always.latencyMs
        ? 'slower than sending the image'
        : 'slower than the whole network on the device'
  return `${said}, and ${ms(cut.latencyMs)} with the network cut where it is fastest (after ${cut.after}), which is ${verdict}.`
}
