import { isIPv4, isIPv6, type Socket } from 'node:net'

/**
 * Who an address counts as where a limit is per address. A host of IPv6 has at least a /64 to choose from (RFC 6177), so
 * that prefix is one; IPv4 inside IPv6 is what it was.
 */
export function addressKey({ remoteAddress = '' }: Pick<Socket, 'remoteAddress'>): string {
  const mapped = remoteAddress.startsWith('::ffff:') ? remoteAddress.slice(7) : remoteAddress
  if (isIPv4(mapped) || !isIPv6(mapped)) return mapped
  const [head = '', tail] = mapped.split('%')[0]!.split('::')
  const groups = head === '' ? [] : head.split(':')
  const missing = tail === undefined ? 0 : 8 - groups.length - (tail === '' ? 0 : tail.split(':').length)
  const all = [...groups, ...Array<string>(missing).fill('0'), ...(tail ?? '').split(':')]
  return `${all.slice(0, 4).join(':')}::/64`
}

/** Whether only this machine reaches what listens at an address. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || (isIPv4(host) && host.startsWith('127.')) || (isIPv6(host) && host === '::1')
