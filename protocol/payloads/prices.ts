import { z } from 'zod'
import { identifier } from '../identifiers.ts'

/** Largest plausible figures: one beyond them is in another unit (J/MB, per cent) more likely than it is meant. */
const most = { joulesPerByte: 0.1, factor: 1_000 }

const money = z.number().nonnegative().max(1e9)
const errorCost = z.number().positive().max(1e9)

export const link = z.object({
  tariffPerMB: money.describe('Currency per 1,000,000 bytes sent'),
  joulesPerByte: z.number().nonnegative().max(most.joulesPerByte).default(0).describe('J a byte takes to send'),
  metered: z.boolean().describe('Whether the budget counts what is sent over it'),
  interface: z
    .string()
    .min(1)
    .max(63)
    .optional()
    .describe('Network interface it is on, as the system names it: eth0, wlan0, wwan0'),
})

export const battery = z.object({
  below: z.number().positive().max(1).describe('Charge, 0 to 1, below which escalations get dearer'),
  factorWhenEmpty: z
    .number()
    .min(1)
    .max(most.factor)
    .describe('Times the price with an empty battery; in between in proportion to what is missing'),
})

/** What things cost, in one currency: what the price of an escalation and the costs of wrong answers are made from. */
export const priceList = z
  .object({
    currency: z
      .string()
      .regex(/^[A-Z]{3}$/)
      .describe('Of every amount of this list; ISO 4217, such as EUR'),
    missedFaultCost: errorCost.describe('Currency for one window of a fault accepted as normal'),
    falseAlarmCost: errorCost.describe('Currency for one window of normal accepted as a fault'),
    wrongFaultCost: errorCost
      .optional()
      .describe("Currency for one window of a fault accepted under another's name; as a false alarm when absent"),
    serverSecondCost: money.default(0).describe('Currency per second of the server model'),
    energyCostPerKWh: money.default(0).describe("Currency per kWh of the device's energy"),
    link: identifier.describe("One of `links`: assumed while the connection is on none's interface"),
    links: z.record(identifier, link).describe('Ways to the broker, by a name of your own'),
    followServers: z
      .boolean()
      .default(true)
      .describe('Whether the load that servers announce counts; hearing of it costs downlink while they work'),
    battery: battery.optional().describe('For a device that runs on one'),
  })
  .refine(({ link, links }) => Object.hasOwn(links, link), { path: ['link'], message: 'is none of `links`' })

export type PriceList = z.infer<typeof priceList>
export type Link = z.infer<typeof link>
