import type { Socket } from 'node:net'
import { addressKey } from '@faultline/runtime'

/** How many connections there may be, of one address and in all; counted from the first packet of TCP. */
export class ConnectionLimits {
  private readonly limits: { connections: number; connectionsPerAddress: number }
  private readonly byAddress = new Map<string, number>()
  private total = 0

  constructor(limits: { connections: number; connectionsPerAddress: number }) {
    this.limits = limits
  }

  get open(): number {
    return this.total
  }

  /** Counts a connection until it closes; a text says why there is no room for it. */
  admit(socket: Socket): string | undefined {
    const { connections, connectionsPerAddress } = this.limits
    const address = addressKey(socket)
    const same = this.byAddress.get(address) ?? 0
    if (this.total >= connections) return 'too many connections'
    if (same >= connectionsPerAddress) return 'too many connections from this address'
    this.total++
    this.byAddress.set(address, same + 1)
    socket.once('close', () => this.release(address))
    return undefined
  }

  private release(address: string): void {
    this.total--
    const left = this.byAddress.get(address)! - 1
    if (left > 0) this.byAddress.set(address, left)
    else this.byAddress.delete(address)
  }
}
