import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { Aedes } from 'aedes'

/**
 * An MQTT broker on a free port of loopback without any rules, unless a filter is named that it refuses: the recorder must do
 * with whatever it is connected to.
 */
export async function startPlainBroker(
  t: { after(clean: () => Promise<void>): void },
  refused?: string,
): Promise<{ url: string }> {
  const aedes = await Aedes.createBroker()
  aedes.authorizeSubscribe = (_client, subscription, done) =>
    done(null, subscription.topic === refused ? null : subscription)
  const server = createServer(aedes.handle)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(async () => {
    await new Promise<void>(resolve => aedes.close(resolve))
    server.close()
  })
  return { url: `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}` }
}
