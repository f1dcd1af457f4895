import { bearingDescription, engineNames, featureNames, publicKeyText } from '@faultline/inference'
import { encoderSchema, identifier, runtimeConfig } from '@faultline/protocol'
import { brokerAccess } from '@faultline/runtime'
import { z } from 'zod'
import { shaftConfig, sourceConfig } from './sources/config.ts'
import { defaultBounds } from './spool/spool.ts'
import { statusPageConfig } from './status-page/status-page.ts'

/** Reporting and prices as they are until somebody says otherwise. */
export const defaultSettings = {
  policy: { name: 'default', parameters: {} },
  price: 0.2,
  prices: null,
  budget: null,
  auditRate: 0.01,
  episodes: 'off',
  deadlineMs: 5_000,
  reporting: 'every',
  summaryIntervalS: 60,
  pace: {},
  healthIntervalS: 10,
} as const

/**
 * What `reporting: exception` brings with it where the file says nothing else: so little that a healthy machine takes less
 * than a megabyte a day, with as many audits as say something within a week. The policy learns from them too, and can do
 * with fewer checks of its own.
 */
export const frugalSettings = {
  policy: { name: 'default', parameters: { checkBudget: 0.00002 } },
  summaryIntervalS: 600,
  healthIntervalS: 300,
  auditRate: { missedFaultsAtMost: 0.01, withinDays: 7 },
} as const

const settings = encoderSchema(runtimeConfig).required().shape

/** How a point learns what is normal for it; see the commissioning guide. */
const commissioning = z.strictObject({
  minutes: z
    .number()
    .positive()
    .max(60 * 24 * 30)
    .default(10)
    .describe('How long it learns; 50 windows at least'),
  statistics: z
    .array(z.enum(featureNames as [string, ...string[]]))
    .min(1)
    .default(['meanAbs'])
    .describe('Features that are watched, each with a limit of its own; of the metrics reference'),
  targetRate: z
    .number()
    .min(1e-9)
    .max(0.1)
    .default(1e-4)
    .describe('Share of normal windows that may be above a limit, all statistics together'),
  confidence: z.number().min(0.5).max(0.999).default(0.95).describe('With which the rate is to hold'),
})

/** The file a device agent starts from. */
export const deviceAgentConfig = z
  .strictObject({
    site: identifier.describe('The site, as enrolled'),
    device: identifier.describe('The device, as enrolled'),
    broker: brokerAccess({}),
    dataDirectory: z
      .string()
      .min(1)
      .default('./data')
      .describe('Directory of the spool, the boot counter and the last configuration'),
    model: z
      .string()
      .min(1)
      .optional()
      .describe('Directory of the local model bundle; may be absent where every point is commissioned'),
    task: identifier.default('bearing-fault').describe('Without a model: what servers are asked to decide'),
    window: z
      .strictObject({
        samples: z.int().positive().default(2_048).describe('Samples in a window'),
        rateHz: z.number().positive().default(12_000).describe('Sampling rate in Hz'),
      })
      .prefault({})
      .describe('Without a model: the windows that are taken, which have to be those of the server model'),
    engine: z
      .enum(['auto', ...engineNames])
      .default('auto')
      .describe('auto: the first that works here'),
    trustedKeys: z
      .array(publicKeyText)
      .min(1)
      .optional()
      .describe(
        'Public keys as `models -- key` prints them: only what is signed with one is loaded, and taken as an update; when absent, every bundle is loaded and no update taken',
      ),
    policy: settings.policy
      .optional()
      .describe(
        'Decides whether the local answer is accepted or the window escalated; { name: default } when absent, by exception with the parameter checkBudget: 0.00002',
      ),
    price: settings.price.default(defaultSettings.price),
    prices: settings.prices.default(defaultSettings.prices),
    budget: settings.budget.default(defaultSettings.budget),
    auditRate: settings.auditRate
      .optional()
      .describe(
        'Share of accepted windows escalated anyway, or what it is to prove; 0.01 when absent, by exception { missedFaultsAtMost: 0.01, withinDays: 7 }',
      ),
    episodes: settings.episodes.default(defaultSettings.episodes),
    deadlineMs: settings.deadlineMs.default(defaultSettings.deadlineMs),
    reporting: settings.reporting.default(defaultSettings.reporting),
    summaryIntervalS: settings.summaryIntervalS
      .optional()
      .describe('Seconds from one summary to the next; 60 when absent, by exception 600'),
    pace: settings.pace.default(defaultSettings.pace),
    healthIntervalS: settings.healthIntervalS
      .optional()
      .describe('Seconds from one health to the next; 10 when absent, by exception 300'),
    spool: z
      .strictObject({
        maximumBytes: z
          .int()
          .min(65_536)
          .default(defaultBounds.bytes)
          .describe('Of what waits for a connection; escalations are given up first, results of commands never'),
        maximumDays: z
          .number()
          .positive()
          .default(defaultBounds.ageS / 86_400)
          .describe('For which the agent has run since; what waited longer is given up'),
      })
      .prefault({})
      .describe('Bounds of what waits for a connection'),
    energy: z
      .strictObject({
        joulesPerInference: z.number().nonnegative().describe('J of one window, from sensor to decision'),
        joulesPerByte: z.number().nonnegative().default(0).describe('J a byte takes to send, without a price list'),
      })
      .optional()
      .describe('For the estimate `energyJ` in health; none when absent'),
    batteryFile: z
      .string()
      .min(1)
      .optional()
      .describe('Holds the charge of the battery in per cent: /sys/class/power_supply/BAT0/capacity'),
    statusPage: statusPageConfig,
    seed: z.int().optional().describe('Seed of the audits and of policies that draw lots; random when absent'),
    points: z
      .array(
        z.strictObject({
          point: identifier.describe('The measurement point; once in the list'),
          machine: identifier.describe('What it measures; a machine may have several points'),
          machineType: identifier
            .optional()
            .describe('What other machines it is like; devices share what policies learn about machines of one type'),
          source: sourceConfig.describe('Where its windows come from'),
          shaft: shaftConfig
            .optional()
            .describe(
              "Where its shaft speed is published, for a source that cannot tell; the source's own when absent",
            ),
          bearing: bearingDescription
            .optional()
            .describe(
              "Its bearing, for order features: a known one by name, or { balls, ballDiameterMm, pitchDiameterMm, contactAngleDeg }; the model's when absent",
            ),
          commissioning: commissioning
            .optional()
            .describe('Learn what is normal at this point, and set a limit of its own; not when absent'),
        }),
      )
      .min(1)
      .refine(points => new Set(points.map(({ point }) => point)).size === points.length, 'a point is named twice')
      .describe('What the device measures'),
  })
  .refine(({ model, points }) => model !== undefined || points.every(point => point.commissioning), {
    path: ['model'],
    message: 'may be absent only where every point has commissioning',
  })
  .transform(config => {
    const absent = config.reporting === 'exception' ? frugalSettings : defaultSettings
    return {
      ...config,
      policy: config.policy ?? absent.policy,
      auditRate: config.auditRate ?? absent.auditRate,
      summaryIntervalS: config.summaryIntervalS ?? absent.summaryIntervalS,
      healthIntervalS: config.healthIntervalS ?? absent.healthIntervalS,
    }
  })

export type DeviceAgentConfig = z.infer<typeof deviceAgentConfig>
