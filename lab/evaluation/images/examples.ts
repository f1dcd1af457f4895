import type { Labelled } from '../../import/labelled.ts'
import { bitmap } from '../../report/bitmap.ts'
import { isLocalRight, isRemoteRight, type Trace } from '../../trace/trace.ts'
import type { Choice } from './methods.ts'

/** One image and what was said about it. */
export interface Example {
  /** As the address of a picture. */
  image: string
  truth: string
  local: string
  confidence: number
  /** Null where the image was not sent. */
  server: string | null
}

export interface ExampleGroup {
  title: string
  /** Images of this kind in the whole test set. */
  count: number
  examples: Example[]
}

const SHOWN = 7

/** The first images of each kind, in the order of the file. */
export function exampleGroups(
  images: readonly Labelled[],
  choice: Choice,
  { rows }: Trace,
  classes: readonly string[],
): ExampleGroup[] {
  const kind = (title: string, sent: boolean, fits: (localRight: boolean, serverRight: boolean) => boolean) => {
    const places = rows.flatMap((row, i) =>
      choice[i] === sent && fits(isLocalRight(row), isRemoteRight(row)) ? [i] : [],
    )
    return {
      title,
      count: places.length,
      examples: places.slice(0, SHOWN).map((i): Example => {
        const { local, truth, remote } = rows[i]!
        return {
          image: bitmap(images[i]!.window),
          truth: classes[truth]!,
          local: classes[Number(local.label)]!,
          confidence: local.confidence,
          server: sent ? classes[remote]! : null,
        }
      }),
    }
  }
  return [
    kind('Accepted, and right', false, right => right),
    kind('Accepted, and wrong: what no policy sees', false, right => !right),
    kind('Sent, and put right by the server', true, (local, server) => !local && server),
    kind('Sent, though the device was right', true, (local, server) => local && server),
    kind('Sent, and the server was wrong', true, (_, server) => !server),
  ]
}
