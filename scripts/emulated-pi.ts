// Installs the agent in an arm64 Debian under qemu-user and lets it work with a broker of this machine: installer, unit,
// first certificate, trial of the engines, inferences, the command for people, update and removal. What a system without
// systemd as its first process cannot do, starting the unit, is done by hand with the unit's own ExecStart line.
//
// onnxruntime crashes here: it reads the processor's make from /sys, which is that of this machine, and not an ARM's. An agent
// that works all the same has tried it in a process of its own.
//
// As root on Debian, with mmdebstrap and qemu-user-static: npx tsx scripts/emulated-pi.ts [--root ROOT.tar]
// ROOT.tar is written when it is not there (some minutes), and used again when it is.
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { connect } from 'mqtt'

const { values } = parseArgs({ options: { root: { type: 'string', default: join(tmpdir(), 'arm64-bookworm.tar') } } })
const repository = join(import.meta.dirname, '..')
const unit = '/etc/systemd/system/faultline-device-agent.service'
const device = 'devices/plant-a/pi-1'

const work = mkdtempSync(join(tmpdir(), 'faultline-pi-'))
const root = join(work, 'root')
const children: ChildProcess[] = []
const started = performance.now()
const say = (text: string): void => console.log(`${seconds(started).padStart(7)}  ${text}`)
const seconds = (since: number): string => `${((performance.now() - since) / 1_000).toFixed(1)} s`

/** A program of this repository, to its end. */
function program(script: string, ...args: string[]): string {
  const loader = ['--disable-warning=ExperimentalWarning', '--import', 'tsx']
  return execFileSync(process.execPath, [...loader, script, ...args], { cwd: repository, encoding: 'utf8' })
}

/** A program of this repository that goes on; resolves when it has said `pattern`. */
async function service(pattern: RegExp, script: string, ...args: string[]): Promise<void> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--import', 'tsx', script, ...args], {
    cwd: repository,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.push(child)
  let said = ''
  await new Promise<void>((resolve, reject) => {
    const hear = (data: Buffer) => {
      said += data
      if (pattern.test(said)) resolve()
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    child.on('exit', code => reject(new Error(`${script} ended with ${code}: ${said}`)))
  })
}

/** In the other system, whose mounts end with the command. */
const inside = (command: string): [string, string[]] => {
  const mounts = ['proc', 'sys', 'dev'].map(name => `mount --rbind /${name} "$0/${name}"`)
  return [
    'unshare',
    ['--mount', 'sh', '-c', `${mounts.join(' && ')} && exec chroot "$0" /bin/sh -c "$1"`, root, command],
  ]
}

/** A Raspberry Pi 4's processor, and no systemd to ask: systemctl then changes files only. */
const env = { ...process.env, QEMU_CPU: 'cortex-a72', SYSTEMD_OFFLINE: '1' }

function onDevice(command: string): string {
  const { status, stdout, stderr } = spawnSync(...inside(command), { encoding: 'utf8', env })
  assert.equal(status, 0, `${command}\n${stdout}${stderr}`)
  return `${stdout}${stderr}`.trim()
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  return port
}

/** The kernel hands programs of the other processor to the emulator, in every root. */
function registerEmulator(): void {
  const kernel = '/proc/sys/fs/binfmt_misc'
  if (!existsSync(`${kernel}/register`)) execFileSync('mount', ['-t', 'binfmt_misc', 'none', kernel])
  if (!existsSync(`${kernel}/qemu-aarch64`))
    writeFileSync(`${kernel}/register`, readFileSync('/usr/lib/binfmt.d/qemu-aarch64.conf'))
}

function makeRoot(): void {
  if (!existsSync(values.root)) {
    say(`making ${values.root}`)
    const args = [
      '--quiet',
      '--architectures=arm64',
      '--variant=minbase',
      '--include=systemd,libstdc++6,ca-certificates',
    ]
    execFileSync('mmdebstrap', [...args, 'bookworm', values.root], { stdio: 'inherit' })
  }
  mkdirSync(root)
  execFileSync('tar', ['-xf', values.root, '-C', root])
  say(`arm64 root: ${onDevice('. /etc/os-release; echo $PRETTY_NAME, $(uname -m), $(getconf LONG_BIT) bits')}`)
}

/** Registry, authority, certificate service and broker, and the package of one device. */
async function makeFleet(): Promise<{ url: string; secret: string }> {
  const registry = ['--registry', join(work, 'registry.db')]
  const provision = (...args: string[]) => program('provisioning/main.ts', ...args, ...registry)
  const [plain, secure, enrolment] = [await freePort(), await freePort(), await freePort()]
  provision('init')
  provision('server-certificate', '--host', '127.0.0.1', '--out', join(work, 'broker'))
  provision('enroll', '--site', 'plant-a', '--device', 'pi-1', '--claim', '--no-config')
  const secret = /^\s*secret\s+(\S+)/m.exec(provision('enroll', '--role', 'operator', '--id', 'anna'))
  assert.ok(secret, 'enrolment prints the secret of an operator')
  const tls = ['certificate: broker.pem', 'key: broker.key', 'ca: ca.pem'].map(line => line.replace(': ', `: ${work}/`))
  writeFileSync(
    join(work, 'broker.yaml'),
    `port: ${plain}\nregistry: ${work}/registry.db\nstore: ":memory:"\ntls: { host: 127.0.0.1, port: ${secure}, clientCertificates: optional, ${tls.join(', ')} }\n`,
  )
  await service(/broker listens/, 'broker/main.ts', '--config', join(work, 'broker.yaml'))
  const serve = ['serve', '--host', '127.0.0.1', '--port', String(enrolment), '--name', '127.0.0.1']
  await service(/provisioning service listens/, 'provisioning/main.ts', ...serve, ...registry)
  say('registry, certificate service and broker run on this machine')
  const agent = join(work, 'agent.tar.gz')
  say(program('provisioning/main.ts', 'agent-package', '--out', agent).trim().replace('\n', ', '))
  const broker = ['--broker-url', `mqtts://127.0.0.1:${secure}`, '--enrolment-url', `https://127.0.0.1:${enrolment}`]
  provision('package', device, ...broker, '--agent', agent, '--out', join(root, 'root', 'device.tar.gz'))
  return { url: `mqtt://127.0.0.1:${plain}`, secret: secret[1]! }
}

/** Prints what systemd would be told. */
async function notifySocket(): Promise<AsyncIterableIterator<string>> {
  const listener = `import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o777)
print('bound', flush=True)
while True: print(s.recvmsg(4096, 256)[0].decode(), flush=True)`
  const child = spawn('python3', ['-c', listener, join(root, 'run', 'notify')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  await lines.next()
  return lines
}

/** Follows what the broker is told by the device; resolves with the first message whose topic ends so. */
function follow({ url, secret }: { url: string; secret: string }) {
  const client = connect(url, { username: 'operators/anna', password: secret, clientId: 'operators/anna' })
  client.subscribe('faultline/v1/devices/plant-a/pi-1/#')
  const first = (end: string) =>
    new Promise<Record<string, unknown>>(resolve => {
      client.on('message', (topic, payload) => {
        if (topic.endsWith(end) && payload.length > 0) resolve(JSON.parse(payload.toString()))
      })
    })
  return { first, end: () => client.endAsync(true) }
}

/** Peak of a process of the emulated system: what the emulator needs is in it. */
const peakMegabytes = (pid: number): string =>
  `${(Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1_000).toFixed(0)} MB`

async function main(): Promise<void> {
  registerEmulator()
  makeRoot()
  const fleet = await makeFleet()
  const unpacked = '/root/faultline-plant-a-pi-1'
  onDevice('cd /root && tar -xzf device.tar.gz')
  let since = performance.now()
  onDevice(`${unpacked}/install.sh`)
  say(`installed in ${seconds(since)}; ${onDevice('du -sh /opt/faultline').split('\t')[0]} on disk`)
  onDevice(`systemd-analyze verify ${unit} && systemctl is-enabled faultline-device-agent`)
  const security = onDevice('systemd-analyze security --offline=true --no-pager faultline-device-agent.service')
  say(security.split('\n').at(-1)!.replace(/^→ /, ''))

  const execStart = /^ExecStart=(.*)$/m.exec(readFileSync(join(root, unit), 'utf8'))![1]!
  const told = await notifySocket()
  const operator = follow(fleet)
  const [state, inference] = [operator.first('/state'), operator.first('/inference')]
  since = performance.now()
  const asUser = `cd /var/lib/faultline && exec setpriv --reuid faultline --regid faultline --clear-groups ${execStart}`
  const agent = spawn(...inside(`export NOTIFY_SOCKET=/run/notify; ${asUser}`), {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  children.push(agent)
  let log = ''
  agent.stderr!.on('data', data => {
    log += data
  })
  const ended = once(agent, 'close').then(([code, signal]) => {
    throw new Error(`the agent ended with ${signal ?? code}: ${log}`)
  })
  ended.catch(() => {})
  const { value: ready } = await Promise.race([told.next(), ended])
  assert.equal(ready, 'READY=1')
  say(`systemd was told ${ready} after ${seconds(since)}`)
  const { models } = (await Promise.race([state, ended])) as {
    models: { engine: string; enginesRejected: { engine: string; reason: string }[] }[]
  }
  const model = models[0]!
  const rejected = model.enginesRejected.map(({ engine, reason }) => `${engine} (${reason})`).join(', ')
  say(`connected with a certificate of its own after ${seconds(since)}; engine ${model.engine}, after ${rejected}`)
  assert.equal(model.engine, 'tfjs-wasm')
  const { label, confidence } = (await Promise.race([inference, ended])) as { label: string; confidence: number }
  say(`first inference at the broker after ${seconds(since)}: ${label}, ${confidence}`)
  say(`peak resident memory of agent and emulator together: ${peakMegabytes(agent.pid!)}`)
  say(`faultline-device status\n${onDevice('faultline-device status')}`)

  agent.kill('SIGTERM')
  const stopped = await ended.catch((error: Error) => error.message)
  assert.match(stopped, /^the agent ended with 0:/)
  await operator.end()
  say('stopped when told to')

  writeFileSync(join(root, 'etc/faultline/device.yaml'), '# changed by hand\n', { flag: 'a' })
  onDevice(`sh /opt/faultline/install.sh ${unpacked}/agent.tar.gz`)
  assert.match(readFileSync(join(root, 'etc/faultline/device.yaml'), 'utf8'), /changed by hand/)
  const removal = onDevice('/opt/faultline/install.sh --uninstall </dev/null')
  assert.match(removal, /kept/)
  for (const gone of ['/opt/faultline', unit, '/usr/local/bin/faultline-device'])
    assert.ok(!existsSync(join(root, gone)))
  assert.ok(existsSync(join(root, 'var/lib/faultline/agent.key')))
  say('updated, which leaves the configuration as it was, and removed, which leaves the data')
}

try {
  await main()
} finally {
  for (const child of children) child.kill()
  rmSync(work, { recursive: true, force: true })
}
