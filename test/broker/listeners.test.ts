import assert from 'node:assert/strict'
import type { Server } from 'node:net'
import { test } from 'node:test'
import { silentLogger } from '@faultline/runtime'
import { Listener } from '../../broker/listeners.ts'

for (const webSocket of [undefined, { maximumMessageBytes: 1_000 }]) {
  test(`a connection that cannot be taken does not end a listener${webSocket ? ' for WebSocket' : ''}`, async t => {
    const nobody = () => assert.fail('nobody connects')
    const listener = new Listener({
      host: '127.0.0.1',
      port: 0,
      webSocket,
      handshakeTimeoutMs: 1_000,
      admit: nobody,
      accept: nobody,
      failed: nobody,
      logger: silentLogger,
    })
    await listener.start()
    t.after(() => listener.stop())
    // What Node reports when the system has no more files to open, which a test cannot bring about without harm to others.
    const { server } = listener as unknown as { server: Server }
    server.emit('error', new Error('accept EMFILE'))
    assert.ok(listener.port > 0)
  })
}
