import { bearingClasses, type InputDescription, imageExtents, openDataset, openImages } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import { ImageSource } from './images.ts'
import { ReplaySource } from './replay.ts'
import { SimulatedSource } from './simulated.ts'
import type { Source } from './source.ts'

const positive = z.number().positive()

const simulated = z.strictObject({
  kind: z.literal('simulated').describe('A bearing that is simulated'),
  intervalMs: positive.default(1_000).describe('Machine time from one window to the next'),
  speed: positive.default(1).describe('Machine time relative to real time'),
  shaftHz: positive.default(29).describe('Mean shaft speed in revolutions per second'),
  fault: z.enum(bearingClasses).default('normal').describe('What becomes of the bearing'),
  faultAfterS: z.number().nonnegative().default(0).describe('Machine time when the fault begins'),
  growthS: z.number().nonnegative().default(0).describe('Machine time the fault takes to grow'),
  seed: z.int().default(1).describe('Another seed is another machine of the kind'),
})

const replay = z.strictObject({
  kind: z.literal('replay').describe('A recording of a data set'),
  directory: z.string().min(1).describe('The data set: manifest.json, or original CWRU .mat files'),
  recording: z.string().min(1).describe('File name without its ending'),
  from: z.int().nonnegative().optional().describe('First sample'),
  to: z.int().positive().optional().describe('The sample after the last'),
  loop: z.boolean().default(true).describe('Begin again at the end'),
  speed: positive.default(1).describe('Windows per second relative to the recording'),
})

const images = z.strictObject({
  kind: z.literal('images').describe('Images, for a model that takes them'),
  directory: z
    .string()
    .min(1)
    .describe(
      'PNG, JPEG or WebP files, or one directory of them per class; or CIFAR-10 batches: *.bin, or one of them',
    ),
  intervalMs: positive.default(1_000).describe('Time from one image to the next'),
  loop: z.boolean().default(true).describe('Begin again at the end'),
})

export const sourceConfig = z.discriminatedUnion('kind', [simulated, replay, images])
export type SourceConfig = z.infer<typeof sourceConfig>

/** Crystals differ a little; a recording at another rate differs a lot. */
const rateTolerance = 0.01

/** What a window has to be: an image, or so many samples at a rate. */
export type SourceInput =
  | Extract<InputDescription, { kind: 'image' }>
  | { kind?: string; samples: number; rateHz: number }

/**
 * Makes the source a configuration describes, with windows as the model takes them. `classes` name what labels of images
 * count. Throws `CONFIG_INVALID` when the model takes something else than the source gives; `RECORDING_UNREADABLE`, or
 * `RECORDING_INVALID` when there is no such recording or its rate is not the model's.
 */
export async function createSource(
  config: SourceConfig,
  input: SourceInput,
  classes: readonly string[] = [],
): Promise<Source> {
  if (config.kind === 'images') {
    if (!takesImages(input))
      throw new FaultlineError('CONFIG_INVALID', 'the source gives images, the model takes signals')
    const extents = imageExtents(input)
    return new ImageSource({ ...config, extents, images: await openImages(config.directory, extents, classes) })
  }
  if (takesImages(input))
    throw new FaultlineError('CONFIG_INVALID', `the model takes images, a source "${config.kind}" gives signals`)
  if (config.kind === 'simulated') {
    return new SimulatedSource({ ...config, rateHz: input.rateHz, windowSamples: input.samples })
  }
  const dataset = await openDataset(config.directory)
  const recording = dataset.recordings.find(({ id }) => id === config.recording)
  if (!recording) {
    throw new FaultlineError('RECORDING_INVALID', `${config.directory} has no recording "${config.recording}"`)
  }
  if (Math.abs(recording.rateHz - input.rateHz) > rateTolerance * input.rateHz) {
    throw new FaultlineError(
      'RECORDING_INVALID',
      `${recording.id} was recorded at ${recording.rateHz} Hz, the model was made for ${input.rateHz} Hz`,
    )
  }
  return new ReplaySource({
    ...config,
    recording,
    samples: await dataset.read(recording.id),
    windowSamples: input.samples,
  })
}

const takesImages = (input: SourceInput): input is Extract<SourceInput, { kind: 'image' }> => input.kind === 'image'
