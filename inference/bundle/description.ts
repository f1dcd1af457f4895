import { z } from 'zod'
import { calibrationModel } from '../calibration/calibration.ts'
import { serverTrustModel } from '../calibration/server-trust.ts'
import { bearingDescription } from '../signal/bearing-description.ts'

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/)
const positive = z.number().positive()

/** A file of the bundle, relative to its directory. Paths never leave it. */
const bundleFile = z.strictObject({
  path: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._/-]*$/)
    .refine(path => !path.split('/').includes('..')),
  sha256: digest,
  bytes: z.int().nonnegative(),
})

/**
 * How a window becomes the network's input.
 * `features`: the named signal features in order, standardised as (x - mean) / scale.
 * `signal`: a representation of the window (`signal/representations.ts`), then (x - mean) / scale where these are given.
 * `image`: height x width x channels of 0..255, each as (x * scale - mean) / std with mean and std of its channel.
 */
const inputDescription = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('features'),
    samples: z.int().positive(),
    rateHz: positive,
    features: z.array(z.string()).min(1),
    mean: z.array(z.number()),
    scale: z.array(positive),
  }),
  z.strictObject({
    kind: z.literal('signal'),
    samples: z.int().positive(),
    rateHz: positive,
    /** One of the names in `signal/representations.ts`. */
    representation: z.string(),
    /** Shape of one network input, without the batch. */
    shape: z.array(z.int().positive()).min(1),
    /** 0 where absent. */
    mean: z.number().optional(),
    /** 1 where absent. */
    scale: positive.optional(),
  }),
  z.strictObject({
    kind: z.literal('image'),
    shape: z.tuple([z.int().positive(), z.int().positive(), z.int().positive()]),
    layout: z.enum(['hwc', 'chw']),
    /** 1/255 where absent. */
    scale: positive.optional(),
    mean: z.array(z.number()),
    std: z.array(positive),
  }),
])

/** The part of one recording a split gives to one side, in samples; the whole recording when no range is given. */
const recordingPart = z.strictObject({
  recording: z.string(),
  class: z.string(),
  from: z.int().nonnegative().optional(),
  to: z.int().positive().optional(),
})

const share = z.number().min(0).max(1)

/** How often answers of a given confidence were right, on labelled data and after the temperature. */
const reliabilityTable = z.strictObject({
  /** Labelled windows or images the table rests on. */
  samples: z.int().positive(),
  accuracy: share,
  /** Mean |accuracy - confidence| over the bins, weighted by their counts (expected calibration error). */
  calibrationError: share,
  /** Bins of confidence that hold at least one answer, from low to high. */
  bins: z
    .array(z.strictObject({ from: share, to: share, count: z.int().positive(), confidence: share, accuracy: share }))
    .min(1),
})

/** `bundle.json`: everything there is to know about one model without loading it. */
export const bundleDescription = z.strictObject({
  format: z.literal(1),
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/),
  version: z.string().regex(/^\d+\.\d+\.\d+$/),
  /** What is asked: `bearing-fault`, `image-class`, … Device and server models of one task share classes. */
  task: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/),
  role: z.enum(['local', 'server']),
  classes: z.array(z.string().min(1).max(64)).min(2),
  /** The class that means "nothing is wrong", where the task has one. */
  normal: z.string().optional(),
  input: inputDescription,
  /** The bearing order features look at where a window names none; the 6205 where absent. */
  bearing: bearingDescription.optional(),
  output: z.enum(['probabilities', 'logits']),
  /** Engine formats: the same network, for several engines. */
  formats: z.strictObject({
    onnx: bundleFile.optional(),
    tfjs: z.strictObject({ model: bundleFile, weights: z.array(bundleFile).min(1) }).optional(),
  }),
  calibration: z.strictObject({
    /** Softmax temperature fitted on validation data; 1 changes nothing. */
    temperature: positive,
    /** Confidence below which escalating pays at price 0.2, found on validation data. */
    threshold: share.optional(),
    reliability: reliabilityTable.optional(),
    /** How probable it is that an answer is right, given all its probabilities after the temperature; the policy `default` starts from it. */
    correctness: calibrationModel.optional(),
    /** How far the server model is to be believed where it contradicts this one; absent where nobody measured it. */
    server: serverTrustModel.optional(),
  }),
  /** Prepared inputs, and what every engine must give back (probabilities or logits, as `output` says) within `tolerance`. */
  golden: z.strictObject({
    tolerance: positive,
    inputs: z.array(z.array(z.number())).min(1),
    outputs: z.array(z.array(z.number())).min(1),
  }),
  training: z.strictObject({
    at: z.iso.datetime(),
    data: z.array(z.string()),
    seed: z.int(),
    note: z.string(),
    split: z.strictObject({
      train: z.array(recordingPart),
      validation: z.array(recordingPart),
      test: z.array(recordingPart),
    }),
    metrics: z.record(z.string(), z.unknown()),
  }),
})

export type BundleDescription = z.infer<typeof bundleDescription>
export type BundleFile = z.infer<typeof bundleFile>
export type InputDescription = BundleDescription['input']
export type ReliabilityTable = z.infer<typeof reliabilityTable>
