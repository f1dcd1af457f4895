import { bearingDescription, engineNames, publicKeyText } from '@faultline/inference'
import { identifier, runtimeConfig } from '@faultline/protocol'
import { brokerAccess } from '@faultline/runtime'
import { z } from 'zod'
import { sourceConfig } from './sources/create.ts'

/** Reporting and prices as they are until somebody says otherwise. */
export const defaultSettings = {
  policy: { name: 'default', parameters: {} },
  price: 0.2,
  prices: null,
  auditRate: 0.01,
  episodes: 'off',
  deadlineMs: 5_000,
  reporting: 'every',
  summaryIntervalS: 60,
  healthIntervalS: 10,
} as const

const settings = runtimeConfig.required().shape

/** The file a device agent starts from. */
export const deviceAgentConfig = z.strictObject({
  site: identifier.describe('The site, as enrolled'),
  device: identifier.describe('The device, as enrolled'),
  broker: brokerAccess({}),
  dataDirectory: z
    .string()
    .min(1)
    .default('./data')
    .describe('Directory of the spool, the boot counter and the last configuration'),
  model: z.string().min(1).describe('Directory of the local model bundle'),
  engine: z
    .enum(['auto', ...engineNames])
    .default('auto')
    .describe('auto: the first that works here'),
  trustedKeys: z
    .array(publicKeyText)
    .min(1)
    .optional()
    .describe('Public keys as `models -- key` prints them: only bundles signed with one are loaded; all when absent'),
  policy: settings.policy.default(defaultSettings.policy),
  price: settings.price.default(defaultSettings.price),
  prices: settings.prices.default(defaultSettings.prices),
  auditRate: settings.auditRate.default(defaultSettings.auditRate),
  episodes: settings.episodes.default(defaultSettings.episodes),
  deadlineMs: settings.deadlineMs.default(defaultSettings.deadlineMs),
  reporting: settings.reporting.default(defaultSettings.reporting),
  summaryIntervalS: settings.summaryIntervalS.default(defaultSettings.summaryIntervalS),
  healthIntervalS: settings.healthIntervalS.default(defaultSettings.healthIntervalS),
  batteryFile: z
    .string()
    .min(1)
    .optional()
    .describe('Holds the charge of the battery in per cent: /sys/class/power_supply/BAT0/capacity'),
  seed: z.int().optional().describe('Seed of the audits and of policies that draw lots; random when absent'),
  points: z
    .array(
      z.strictObject({
        point: identifier.describe('The measurement point; once in the list'),
        machine: identifier.describe('What it measures; a machine may have several points'),
        source: sourceConfig.describe('Where its windows come from'),
        bearing: bearingDescription
          .optional()
          .describe(
            "Its bearing, for order features: a known one by name, or { balls, ballDiameterMm, pitchDiameterMm, contactAngleDeg }; the model's when absent",
          ),
      }),
    )
    .min(1)
    .refine(points => new Set(points.map(({ point }) => point)).size === points.length, 'a point is named twice')
    .describe('What the device measures'),
})

export type DeviceAgentConfig = z.infer<typeof deviceAgentConfig>
