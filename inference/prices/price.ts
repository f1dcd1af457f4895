import { describeIssue, encoderSchema, FaultlineError, type PriceList, priceList } from '@faultline/protocol'
import type { DecisionContext } from '../policies/policy.ts'

/** What an escalation takes, and how things stand when it is considered. */
export interface Circumstances {
  /** Topic, payload and framing of the escalation. */
  bytes: number
  /** Time of the server model that one window takes. */
  serverSeconds: number
  /** One of the list's links. */
  link: string
  /** Charge of the battery, 0..1; absent where there is none, or nobody knows. */
  batteryLevel?: number
  /** Wait that the servers announce, as a share of the deadline. */
  serverLoad?: number
}

/**
 * What a window's decision is made with, in units of one wrong accepted answer of the dearer kind: the price (b), the
 * costs (dFN, dFP; the larger is 1), and the parts of the price.
 */
export interface Quote extends Required<Pick<DecisionContext, 'price' | 'costs'>> {
  /** Parts of the price, and what raised it; they are published with the decision. */
  numbers: Record<string, number>
}

/** The papers have b in (0, 1]. Below, asking is all but free; above, it never pays. */
export const leastPrice = 1e-6
const joulesPerKWh = 3.6e6
const bytesPerMB = 1e6

/** A list that a person writes: an entry that is not known is a mistake. */
const written = encoderSchema(priceList)

/** Reads a price list. Throws `CONFIG_INVALID` naming the field. */
export function checkPriceList(value: unknown): PriceList {
  const parsed = written.safeParse(value)
  if (parsed.success) return parsed.data
  throw new FaultlineError('CONFIG_INVALID', `prices: ${describeIssue(parsed.error, 'top level')}`)
}

/** Currency for one wrong accepted answer of the dearest kind: the unit of every price and cost. */
export const unitOf = ({ missedFaultCost, falseAlarmCost, wrongFaultCost = falseAlarmCost }: PriceList): number =>
  Math.max(missedFaultCost, falseAlarmCost, wrongFaultCost)

/**
 * The price of an escalation and the costs of wrong answers.
 *
 *     b = (bytes tariff + bytes energy + seconds server) x battery factor x load factor / dearest wrong answer
 *
 * The battery factor grows linearly from 1 at `below` to `factorWhenEmpty` at 0. The load factor is 1 / (1 - w), w being
 * the announced wait over the deadline: if an answer comes in time with probability 1 - w, that many escalations are paid
 * for each answer; from w = 1 on no answer comes in time and none is worth its price. A price above 1 could never pay
 * and is published as 1, with `uncappedPrice` besides. Throws `CONFIG_INVALID` naming a circumstance that is no such
 * quantity.
 */
export function quote(list: PriceList, circumstances: Circumstances): Quote {
  check(circumstances)
  const { bytes, serverSeconds, batteryLevel, serverLoad = 0 } = circumstances
  const link = list.links[circumstances.link]
  if (!link) throw new FaultlineError('CONFIG_INVALID', `prices: link: "${circumstances.link}" is none of the links`)
  const { missedFaultCost, falseAlarmCost, wrongFaultCost = falseAlarmCost } = list
  const unit = unitOf(list)
  const priceBytes = (bytes * link.tariffPerMB) / bytesPerMB / unit
  const priceEnergy = ((bytes * link.joulesPerByte) / joulesPerKWh) * (list.energyCostPerKWh / unit)
  const priceServer = (serverSeconds * list.serverSecondCost) / unit
  const batteryFactor = factorOf(list.battery, batteryLevel)
  const loadFactor = serverLoad < 1 ? 1 / (1 - serverLoad) : Number.POSITIVE_INFINITY
  const before = (priceBytes + priceEnergy + priceServer) * batteryFactor
  // Without this, servers that cannot answer would cost nothing where bytes cost nothing.
  const uncapped = loadFactor === Number.POSITIVE_INFINITY ? Number.POSITIVE_INFINITY : before * loadFactor
  const price = Math.min(1, Math.max(leastPrice, uncapped))
  const costs = {
    missedFault: missedFaultCost / unit,
    falseAlarm: falseAlarmCost / unit,
    wrongFault: wrongFaultCost / unit,
  }
  return {
    price,
    costs,
    numbers: {
      price,
      missedFault: costs.missedFault,
      falseAlarm: costs.falseAlarm,
      bytes,
      priceBytes,
      priceEnergy,
      priceServer,
      ...(batteryFactor > 1 && { batteryFactor }),
      ...(serverLoad > 0 && { serverLoad }),
      // With no end where no answer can come in time: `serverLoad` says that.
      ...(uncapped > 1 && Number.isFinite(uncapped) && { uncappedPrice: uncapped }),
    },
  }
}

function factorOf(battery: PriceList['battery'], level: number | undefined): number {
  if (!battery || level === undefined || level >= battery.below) return 1
  return 1 + (battery.factorWhenEmpty - 1) * (1 - level / battery.below)
}

function check(circumstances: Circumstances): void {
  const limits = { bytes: 1e12, serverSeconds: 1e9, batteryLevel: 1, serverLoad: Number.POSITIVE_INFINITY }
  for (const [name, most] of Object.entries(limits) as [keyof typeof limits, number][]) {
    const value = circumstances[name]
    if (value === undefined && name !== 'bytes' && name !== 'serverSeconds') continue
    if (!(typeof value === 'number' && value >= 0 && value <= most))
      throw new FaultlineError('CONFIG_INVALID', `prices: ${name}: ${value} is no such quantity`)
  }
}
