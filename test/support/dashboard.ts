import { on, once } from 'node:events'
import WebSocket from 'ws'

/** Sends the form of the login page. */
export const sendLogin = (
  dashboard: string,
  name: string,
  password: string,
  { to = '/', ...headers }: Record<string, string> = {},
): Promise<Response> =>
  fetch(new URL('/login', dashboard), {
    method: 'POST',
    body: new URLSearchParams({ name, password, to }),
    headers,
    redirect: 'manual',
  })

/** The cookie of a session, as the browser would send it; empty when there is none. */
export const cookieOf = (response: Response): string => response.headers.get('set-cookie')?.split(';')[0] ?? ''

/** What a page of the dashboard says and hears, in socket.io's protocol (https://socket.io/docs/v4/socket-io-protocol). */
export class PageConnection {
  /** Resolves when the server, or `close`, has ended it. */
  readonly closed: Promise<unknown>
  private readonly socket: WebSocket
  private readonly packets: AsyncIterableIterator<[Buffer]>

  constructor(dashboard: string, headers: Record<string, string>) {
    const url = new URL('/dashboard/socket.io/?EIO=4&transport=websocket', dashboard)
    url.protocol = 'ws:'
    this.socket = new WebSocket(url, { headers })
    this.packets = on(this.socket, 'message', { close: ['close'] }) as AsyncIterableIterator<[Buffer]>
    this.closed = once(this.socket, 'close')
  }

  /** What the server says to who asks to come in: `40{…}` is a welcome, `44{…}` a refusal. */
  async open(): Promise<string> {
    await this.next() // The transport's own greeting.
    this.socket.send('40')
    return this.next()
  }

  send(widget: string, message: unknown, event = 'widget-send'): void {
    this.socket.send(`42${JSON.stringify([event, widget, message])}`)
  }

  /** The next event of the server's that fits. */
  async heard(fits: (event: unknown[]) => boolean): Promise<unknown[]> {
    for (;;) {
      const text = await this.next()
      const event = text.startsWith('42') ? (JSON.parse(text.slice(2)) as unknown[]) : []
      if (fits(event)) return event
    }
  }

  close(): void {
    this.socket.terminate()
  }

  private async next(): Promise<string> {
    const { value, done } = await this.packets.next()
    if (done) throw new Error('the connection ended')
    return String(value[0])
  }
}
