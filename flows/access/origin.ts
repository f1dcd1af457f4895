import type { IncomingHttpHeaders } from 'node:http'

/**
 * Whether a request can have come from a page of ours. Browsers say where a page came from on every POST and every web socket
 * (Fetch standard, `Origin`; Fetch Metadata, `Sec-Fetch-Site`); what is no browser says neither, and holds nobody's cookie.
 */
export function isOwnOrigin(headers: IncomingHttpHeaders): boolean {
  const { origin, host } = headers
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return false
  return origin === undefined || (URL.canParse(origin) && new URL(origin).host === host)
}
