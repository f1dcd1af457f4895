import { networkInterfaces } from 'node:os'
import { type DecisionContext, quote } from '@faultline/inference'
import type { Health, PriceList } from '@faultline/protocol'
import type { RuntimeSettings } from '../control/configuration.ts'
import type { Battery } from './battery.ts'
import type { ServerLoads } from './server-loads.ts'

/** What a window is decided with, and the numbers that are published of it. */
export interface WindowQuote extends DecisionContext {
  numbers: Record<string, number>
}

export type PriceSettings = Pick<RuntimeSettings, 'price' | 'prices' | 'deadlineMs'>

/** Weight of the newest verdict: a few decide, one does not. */
const newest = 0.2

/**
 * The price of an escalation as things stand: the plain one of the settings, or from a price list what this link, this
 * battery and these servers make of it.
 */
export class Pricing {
  private readonly battery: Battery
  private readonly servers: ServerLoads
  private settings: PriceSettings
  /** Of the network interface that the connection is on. */
  private interface: string | undefined
  private inferMs = 0
  private last: number | undefined

  constructor(settings: PriceSettings, battery: Battery, servers: ServerLoads) {
    this.settings = settings
    this.battery = battery
    this.servers = servers
  }

  /** From the next window on. */
  use(settings: PriceSettings): void {
    this.settings = settings
    this.last = undefined
  }

  /** There is a new connection, from this address of the device. */
  connectedFrom(address: string | undefined): void {
    this.interface = address && interfaceOf(address)
  }

  /** A verdict took the server's model so long; for a batch, the whole batch. */
  answered(inferMs: number): void {
    this.inferMs = this.inferMs === 0 ? inferMs : newest * inferMs + (1 - newest) * this.inferMs
  }

  /** Whether bytes are counted: everywhere, unless a price list says that this link is not metered. */
  get metered(): boolean {
    const { prices } = this.settings
    return prices ? prices.links[this.linkOf(prices)]!.metered : true
  }

  /** J a byte takes on this link; undefined without a price list. */
  get joulesPerByte(): number | undefined {
    const { prices } = this.settings
    return prices ? prices.links[this.linkOf(prices)]!.joulesPerByte : undefined
  }

  /** What escalating so many bytes would cost now. */
  quote(bytes: number): WindowQuote {
    const { price, prices } = this.settings
    if (!prices) return this.remember({ price, numbers: {} })
    const { level } = this.battery
    const serverLoad = this.serverLoad()
    return this.remember(
      quote(prices, {
        bytes,
        serverSeconds: this.inferMs / 1_000,
        link: this.linkOf(prices),
        ...(level !== undefined && { batteryLevel: level }),
        ...(serverLoad !== undefined && { serverLoad }),
      }),
    )
  }

  /** For health: the price of the last window and what it depends on. Undefined before the first window. */
  get report(): Health['price'] {
    const { prices } = this.settings
    if (this.last === undefined) return undefined
    const { level } = this.battery
    const serverLoad = this.serverLoad()
    return {
      value: this.last,
      ...(prices && { link: this.linkOf(prices), metered: this.metered }),
      ...(prices && level !== undefined && { battery: level }),
      ...(prices && serverLoad !== undefined && { serverLoad }),
    }
  }

  /** Announced wait as a share of the deadline; 1 when no answer would come in time. */
  private serverLoad(): number | undefined {
    const { waitMs } = this.servers
    return waitMs === undefined ? undefined : Math.min(1, waitMs / this.settings.deadlineMs)
  }

  private linkOf({ link, links }: PriceList): string {
    const here = this.interface
    if (here === undefined) return link
    return Object.keys(links).find(name => links[name]!.interface === here) ?? link
  }

  private remember(made: WindowQuote): WindowQuote {
    this.last = made.price
    return made
  }
}

/** The interface that has an address. A socket says `::ffff:10.0.0.2` for IPv4 where it could speak IPv6 as well. */
export function interfaceOf(address: string): string | undefined {
  const plain = address.replace(/^::ffff:/, '').replace(/%.*$/, '')
  const all = Object.entries(networkInterfaces())
  return all.find(([, addresses]) => addresses?.some(({ address: own }) => own === plain))?.[0]
}
