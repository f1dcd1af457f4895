import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { root } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'

const installer = join(root, 'provisioning/installer/install.sh')

interface Machine {
  uname: string
  getconf: string
  dpkg: string
}

/** Runs the installer where these programs answer as they do on another machine. Nothing of it gets past the checks. */
async function installOn(t: TestContext, machine: Machine) {
  const directory = await temporaryDirectory(t)
  for (const [name, answer] of Object.entries({ ...machine, systemctl: '', id: '1000' })) {
    await writeFile(join(directory, name), `#!/bin/sh\necho ${answer}\n`)
    await chmod(join(directory, name), 0o755)
  }
  const env = { ...process.env, PATH: `${directory}:${process.env.PATH}` }
  return spawnSync('sh', [installer, 'agent.tar.gz'], { env, encoding: 'utf8' })
}

test('a 32-bit userland under a 64-bit kernel is refused, and told what to do', async t => {
  const { status, stderr } = await installOn(t, { uname: 'aarch64', getconf: '32', dpkg: 'armhf' })
  assert.equal(status, 1)
  assert.match(stderr, /32-bit \(armhf\) although its kernel is 64-bit \(aarch64\).*64-bit Raspberry Pi OS/s)
})

test('a 32-bit processor or kernel is refused, and so is one of another kind', async t => {
  for (const uname of ['armv6l', 'armv7l']) {
    const { status, stderr } = await installOn(t, { uname, getconf: '32', dpkg: 'armhf' })
    assert.equal(status, 1)
    assert.match(stderr, new RegExp(`32-bit system \\(armhf, ${uname}\\)`))
  }
  assert.match((await installOn(t, { uname: 'riscv64', getconf: '64', dpkg: 'riscv64' })).stderr, /this is riscv64/)
})

test('on a 64-bit system the next thing asked for is root', async t => {
  const { status, stderr } = await installOn(t, { uname: 'aarch64', getconf: '64', dpkg: 'arm64' })
  assert.equal(status, 1)
  assert.match(stderr, /run as root/)
})

test('the unit runs what came over the broker as nobody special, who can change its own state and nothing else', async () => {
  const unit = await readFile(join(root, 'provisioning/installer/faultline-device-agent.service'), 'utf8')
  const lines = unit.split('\n').filter(line => /^[A-Z]\w+=/.test(line))
  for (const line of ['User=faultline', 'ProtectSystem=strict', 'NoNewPrivileges=true', 'CapabilityBoundingSet='])
    assert.ok(lines.includes(line), line)
  assert.deepEqual(
    lines.filter(line => /^(ReadWritePaths|BindPaths|AmbientCapabilities|\w+Directory|Exec\w+)=/.test(line)),
    [
      'ExecStart=/opt/faultline/launch.sh --config /etc/faultline/device.yaml',
      'WorkingDirectory=/var/lib/faultline',
      'StateDirectory=faultline',
    ],
  )
  // What root unpacks belongs to root, whoever packed it.
  assert.match(await readFile(installer, 'utf8'), /tar -xzf .* --no-same-owner/)
})
