import { bearingClasses, sampleFormats, separators } from '@faultline/inference'
import { z } from 'zod'

import { windowFormats } from './mqtt/window-message.ts'
import { signalUnits } from './signal-unit.ts'

const positive = z.number().positive()
const every = positive
  .default(1_000)
  .describe('Time from one window to the next, in ms; samples in between are passed over')
const shaftHz = positive.optional().describe('Shaft speed in revolutions per second, where it does not change')
const pulses = positive.default(1).describe('Pulses of the tacho for each revolution of the shaft')

const sensitivityMvPerG = positive
  .optional()
  .describe('Of an accelerometer in V: mV for each g, as its data sheet says')
const stated = {
  unit: z
    .enum(signalUnits, {
      error: ({ input }) =>
        input === 'mm/s' || input === 'um'
          ? `${input}: velocity and displacement are not converted; take the acceleration of the sensor, in ${signalUnits.join(', ')}`
          : `must be one of ${signalUnits.join(', ')}`,
    })
    .optional()
    .describe(
      'Of its values, after `scale`: g, m/s2, or V with sensitivityMvPerG; taken as g when absent, which the log says',
    ),
  sensitivityMvPerG,
}
const rateHz = positive.optional().describe('At which it is sampled; that of the model when absent, which the log says')

/** Volts need a sensitivity, and nothing else has one. */
const checkSensitivity = ({ value, issues }: z.core.ParsePayload<z.infer<z.ZodObject<typeof stated>>>): void => {
  if ((value.unit === 'V') === (value.sensitivityMvPerG !== undefined)) return
  const message = 'belongs to unit: V, which needs it'
  issues.push({ code: 'custom', input: value, path: ['sensitivityMvPerG'], message })
}

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

const range = {
  from: z.int().nonnegative().optional().describe('First sample'),
  to: z.int().positive().optional().describe('The sample after the last'),
  loop: z.boolean().default(true).describe('Begin again at the end'),
  speed: positive.default(1).describe('Windows per second relative to the recording'),
  acrossGaps: z.boolean().optional().describe('Let windows reach over gaps, where snapshots are shorter than a window'),
}

const replay = z
  .strictObject({
    kind: z.literal('replay').describe('A recording of a data set'),
    directory: z
      .string()
      .min(1)
      .describe('The data set: with manifest.json or manifest.csv, or original CWRU .mat files'),
    recording: z.string().min(1).describe('File name without its ending'),
    ...stated,
    unit: stated.unit.describe('Of the recording; g when absent, as data sets have it'),
    ...range,
  })
  .check(checkSensitivity)

const column = z.union([z.int().nonnegative(), z.string().min(1)])

const file = z
  .strictObject({
    kind: z.literal('file').describe('A recording of your own'),
    file: z
      .string()
      .min(1)
      .describe(
        'A table of text, WAV or MATLAB file, or a directory of such snapshots; acc_*.csv in the place of a name means some',
      ),
    column: column
      .optional()
      .describe(
        'Column of a table or matrix, or channel of a WAV file: its name, or its number from 0; needed where there are several',
      ),
    variable: z.string().min(1).optional().describe('Variable of a MATLAB file; needed where there are several'),
    separator: z
      .enum(separators)
      .optional()
      .describe(
        'Between the cells of a table, where they do not show it: blank is any run of blanks, none is one column',
      ),
    decimal: z.enum(['.', ',']).optional().describe('Decimal mark of a table, where its rows do not show it'),
    rateHz: positive
      .optional()
      .describe(
        'Sampling rate of a file that does not say; that of the model when absent. A contradiction is an error',
      ),
    scale: z.number().default(1).describe('Physical units at full scale of a WAV file, or for each unit of another'),
    ...stated,
    shaftHz,
    ...range,
  })
  .check(checkSensitivity)

const iio = z.strictObject({
  kind: z.literal('iio').describe('A sensor with a driver of the Linux kernel (Industrial I/O)'),
  device: z.string().min(1).describe('iio:device0, or the name of its driver: adxl345'),
  channel: z
    .string()
    .regex(/^[a-z]+[0-9]*(_[a-z0-9]+)*$/)
    .describe('As in scan_elements, without in_ and _en: accel_z'),
  trigger: z
    .string()
    .min(1)
    .optional()
    .describe("Name of the trigger that starts each sample; the driver's own when absent"),
  rateHz: positive
    .optional()
    .describe('Sampling rate to set; when absent the rate of the model, or the next above it that the driver has'),
  sensitivityMvPerG: sensitivityMvPerG.describe(
    'Of an accelerometer at a channel of voltage, in mV for each g; a channel of acceleration needs none',
  ),
  intervalMs: every,
  shaftHz,
  tacho: z
    .strictObject({
      channel: z.string().min(1).describe('A channel of the same device: voltage0'),
      pulsesPerRevolution: pulses,
    })
    .optional()
    .describe('The channel that a tacho is wired to'),
})

const command = z
  .strictObject({
    kind: z.literal('command').describe('What a program writes to its standard output, such as arecord'),
    command: z.array(z.string()).min(1).describe('The program and its arguments; no shell is involved'),
    format: z
      .enum([...sampleFormats, 'csv'])
      .describe('How numbers lie in the stream, without a header; csv: lines of numbers, as a serial port gives them'),
    column: z
      .union([z.int().nonnegative(), z.string().min(1)])
      .default(0)
      .describe('With csv: the one with the sensor, from 0, or its name in a line before the numbers'),
    rateHz,
    channels: z.int().min(1).max(64).default(1).describe('Channels, interleaved'),
    channel: z.int().nonnegative().default(0).describe('The one with the sensor, from 0'),
    scale: z.number().default(1).describe('Physical units at full scale; of floats and csv, for each unit'),
    ...stated,
    intervalMs: every,
    shaftHz,
    tacho: z
      .strictObject({ channel: z.int().nonnegative().describe('From 0'), pulsesPerRevolution: pulses })
      .optional()
      .describe('The channel that a tacho is wired to'),
  })
  .refine(({ channel, channels }) => channel < channels, { path: ['channel'], message: 'is not among the channels' })
  .refine(({ tacho, channels, format }) => !tacho || format === 'csv' || tacho.channel < channels, {
    path: ['tacho', 'channel'],
    message: 'is not among the channels',
  })
  .check(checkSensitivity)

const pem = z.string().min(1).optional()

/** A broker that need not be Faultline's, and who asks there. */
const access = {
  url: z.url({ protocol: /^(mqtts?|wss?)$/ }).describe('mqtt://, mqtts://, ws:// or wss://'),
  topic: z
    .string()
    .regex(/^[^#+]+$/, 'must be a topic without wildcards')
    .max(65_535)
    .describe('A topic, without wildcards'),
  username: z.string().min(1).optional().describe('Where the broker asks for one'),
  password: z.string().min(1).optional().describe('Where the broker asks for one'),
  ca: pem.describe("PEM file of the authority that signed the broker's certificate; the system's own when absent"),
  certificate: pem.describe('PEM file of a certificate to log in with'),
  key: pem.describe('PEM file of its private key'),
}

const mqtt = z
  .strictObject({
    kind: z
      .literal('mqtt')
      .describe('What a microcontroller publishes to a broker: windows, or numbered parts of a stream'),
    ...access,
    format: z
      .enum(windowFormats)
      .default('json')
      .describe(
        'json: [1.5, …] or { "values": […], "rateHz", "number", "shaftHz" }; or how numbers lie in the message',
      ),
    numbered: z
      .boolean()
      .default(false)
      .describe('Samples that are no JSON follow a number that grows by one with each message: 32 bits, little endian'),
    rateHz: positive
      .optional()
      .describe('At which it is sampled, where messages do not say; that of the model when absent, which the log says'),
    scale: z.number().default(1).describe('Physical units at full scale; of floats and of JSON, for each unit'),
    ...stated,
    intervalMs: positive.default(1_000).describe('How often a window is expected, in ms'),
    shaftHz,
  })
  .check(checkSensitivity)

/** Where a point hears its shaft speed, whatever its source. */
export const shaftConfig = z.strictObject({
  ...access,
  unit: z.enum(['hz', 'rpm']).default('hz').describe('Of a message that is a bare number'),
  maximumAgeS: positive.default(60).describe('How long a speed holds that nobody repeats'),
})
export type ShaftConfig = z.infer<typeof shaftConfig>

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

export const sourceConfig = z.discriminatedUnion('kind', [simulated, replay, file, iio, command, mqtt, images])
export type SourceConfig = z.infer<typeof sourceConfig>
