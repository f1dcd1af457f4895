import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { ServiceManager } from '@faultline/runtime'
import { temporaryDirectory } from '../support/temp.ts'

/** Stands where systemd does: a datagram socket that prints what it is told, which Node itself cannot open. */
async function notifySocket(t: TestContext): Promise<{ path: string; lines: Interface }> {
  const path = join(await temporaryDirectory(t), 'notify')
  const program = `
import array, os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('bound', flush=True)
while True:
    data, ancillary, _, _ = s.recvmsg(4096, 256)
    for _, _, fds in ancillary:
        for fd in array.array('i', fds[:len(fds) // 4 * 4]): os.close(fd)
    print(data.decode(), flush=True)
`
  const child = spawn('python3', ['-c', program, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill())
  const lines = createInterface(child.stdout)
  await once(lines, 'line')
  return { path, lines }
}

const untilLine = async (lines: Interface, wanted: string): Promise<void> => {
  for (let line = ''; line !== wanted; ) [line] = (await once(lines, 'line')) as [string]
}

test('systemd hears that a unit is ready, that it goes on, and that it stops', async t => {
  const { path, lines } = await notifySocket(t)
  const environment = {
    ...process.env,
    NOTIFY_SOCKET: path,
    WATCHDOG_USEC: '200000',
    WATCHDOG_PID: String(process.pid),
  }
  const manager = new ServiceManager({ environment, failed: assert.fail })
  const ready = untilLine(lines, 'READY=1')
  await manager.start()
  await ready
  await untilLine(lines, 'WATCHDOG=1')
  await untilLine(lines, 'WATCHDOG=1')
  const stopping = untilLine(lines, 'STOPPING=1')
  await manager.stop()
  await stopping
})

test('a service goes on when systemd cannot be told, and says so once', async t => {
  const directory = await temporaryDirectory(t)
  const failures: Error[] = []
  const environment = { ...process.env, NOTIFY_SOCKET: join(directory, 'nobody-listens') }
  const manager = new ServiceManager({ environment, failed: error => failures.push(error) })
  await manager.start()
  await manager.stop()
  assert.equal(failures.length, 1)
})

test('without systemd there is nothing to tell', async () => {
  const manager = new ServiceManager({ environment: { PATH: '/nowhere' }, failed: assert.fail })
  await manager.start()
  await manager.stop()
})
