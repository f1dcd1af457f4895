import { createEngine } from '@faultline/inference'
import { toFaultlineError } from '@faultline/protocol'
import { Progress } from '@faultline/runtime'
import type { CutFigures } from './cuts.ts'
import type { ImagePair } from './pair.ts'
import { Partitions } from './partitions.ts'
import { medianMs, ROUNDS } from './timing.ts'

/** Milliseconds per image at batch 1 on one core of the machine that measured. */
export interface Times {
  engine: string
  localMs: number
  serverMs: number
}

/** Times of both models and of every part of the server's, all in turns. */
export async function measured(
  { local, server }: ImagePair,
  prepared: readonly Float32Array[],
  notes: string[],
  rounds: number = ROUNDS,
): Promise<{ times: Times; cuts: CutFigures[] }> {
  const image = prepared[0]!
  const [localNetwork, serverNetwork] = await Promise.all(
    [local, server].map(({ bundle, engine }) =>
      createEngine(bundle.description.formats.onnx ? 'onnx' : engine).load(bundle),
    ),
  )
  const partitions = await Partitions.open(server.bundle.directory).catch(thrown => {
    const { code, message } = toFaultlineError(thrown)
    notes.push(`The server's network could not be cut, so partitioning is left out (${code}: ${message}).`)
    return undefined
  })
  try {
    await partitions?.check(image)
    const parts = partitions?.cuts ?? []
    const runs = [() => localNetwork!.run(image, 1), () => serverNetwork!.run(image, 1)]
    for (const { head } of parts) if (head) runs.push(() => head.run(image, 1))
    for (const cut of parts) {
      const crossed = await partitions!.crossing(cut, image)
      if (cut.tail) runs.push(() => cut.tail!.run(crossed, 1))
    }
    const timing = new Progress('timing', rounds)
    const [localMs, serverMs, ...others] = await medianMs(runs, done => timing.update(done), rounds)
    timing.stop()
    const heads = [0, ...others.slice(0, parts.length - 1)]
    const tails = [...others.slice(parts.length - 1), 0]
    const cuts: CutFigures[] = []
    for (const [i, cut] of parts.entries()) {
      const { boundary, tail } = cut
      cuts.push({
        after: boundary.after,
        shapes: boundary.shapes,
        // The image itself is bytes already.
        bytes: tail && { float32: i === 0 ? boundary.values : 4 * boundary.values, uint8: boundary.values },
        headMs: heads[i]!,
        tailMs: tails[i]!,
        agreement: cut.head && tail ? await partitions!.agreement(cut, prepared) : null,
      })
    }
    return { times: { engine: localNetwork!.engine, localMs: localMs!, serverMs: serverMs! }, cuts }
  } finally {
    await Promise.all([localNetwork, serverNetwork, partitions].map(each => each?.dispose()))
  }
}
