import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { temporaryDirectory } from '../support/temp.ts'
import { address, inference, startBroker, startClients } from './fixtures.ts'

const main = fileURLToPath(new URL('../../flows/main.ts', import.meta.url))

function run(t: TestContext, ...options: string[]): ChildProcess {
  const loader = ['--disable-warning=ExperimentalWarning', '--import', import.meta.resolve('tsx')]
  const child = spawn(process.execPath, [...loader, main, ...options], { stdio: ['ignore', 'pipe', 'pipe'] })
  t.after(() => child.kill('SIGKILL'))
  return child
}

interface RunningFlows {
  child: ChildProcess
  editor: string
  /** What it has written to its output. */
  said: () => string
}

/** Starts the process and waits until its nodes are connected. */
async function runFlows(t: TestContext, file: string): Promise<RunningFlows> {
  const child = run(t, '--config', file)
  let output = ''
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  let editor: string | undefined
  let connected = false
  for await (const line of createInterface({ input: child.stderr! })) {
    const entry = JSON.parse(line) as { msg: string; editor?: string }
    editor ??= entry.editor
    connected ||= entry.msg.startsWith('connected to the broker')
    if (editor && connected) return { child, editor, said: () => output }
  }
  throw new Error('the process ended before it was connected')
}

async function writeConfig(directory: string, broker: Awaited<ReturnType<typeof startBroker>>, port = 0) {
  const file = join(directory, 'flows.yaml')
  const { url, identity, secret } = broker.flows
  const config = { userDirectory: join(directory, 'node-red'), port, broker: { url, identity: identity.name, secret } }
  await writeFile(file, JSON.stringify(config)) // JSON is YAML.
  return { file, userDirectory: config.userDirectory }
}

async function output(child: ChildProcess): Promise<{ code: number; stdout: string; stderr: string }> {
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, 'exit')])
  return { code, stdout, stderr }
}

async function text(stream: NodeJS.ReadableStream): Promise<string> {
  let whole = ''
  for await (const chunk of stream) whole += String(chunk)
  return whole
}

test('killed and started again, the flows go on with the alarms as they stood', { timeout: 120_000 }, async t => {
  const broker = await startBroker(t)
  const clients = await startClients(t, broker.url)
  const device = await clients.device('pi-1')
  const { file, userDirectory } = await writeConfig(await temporaryDirectory(t), broker)
  const first = await runFlows(t, file)
  for (let i = 0; i < 4; i++) await device.publish(address(), inference('ball'))
  const raised = await clients.alarm(({ state }) => state === 'unacknowledged')
  first.child.kill('SIGKILL')
  await once(first.child, 'exit')
  const newcomer = await startClients(t, broker.url)
  assert.deepEqual(await newcomer.alarm(() => true), raised, 'the retained message is right')

  const { child, editor, said } = await runFlows(t, file)
  for (let i = 0; i < 6; i++) await device.publish(address(), inference('ball'))
  for (let i = 0; i < 10; i++) await device.publish(address(), inference('normal'))
  const returned = await clients.alarm(({ state }) => state === 'returned-unacknowledged')
  assert.equal(returned.count, 10)
  assert.deepEqual(returned.evidence, raised.evidence)
  const since = new Set(clients.alarms.filter(({ state }) => state === 'unacknowledged').map(alarm => alarm.since))
  assert.deepEqual([...since], [raised.since], 'raised once')

  await t.test(
    'the password was printed at the first start, and only its hash is kept, in a private file',
    async () => {
      const password = /log in as admin with (\S+)/.exec(first.said())![1]!
      assert.equal(said(), '', 'and at no other')
      const kept = join(userDirectory, 'admin-password-hash')
      assert.match(await readFile(kept, 'utf8'), /^\$2b\$11\$/)
      assert.equal((await stat(kept)).mode & 0o777, 0o600)
      assert.match(await (await fetch(editor)).text(), /<title>Faultline flows<\/title>/)
      assert.equal((await fetch(`${editor}flows`)).status, 401)
      assert.equal((await logIn(editor, 'wrong')).status, 403)
      const { access_token: token } = (await (await logIn(editor, password)).json()) as { access_token: string }
      const response = await fetch(`${editor}flows`, { headers: { Authorization: `Bearer ${token}` } })
      assert.equal(response.status, 200)
      const flows = await response.text()
      assert.match(flows, /faultline-alarm/)
      assert.ok(!flows.includes(broker.flows.secret))
    },
  )

  await t.test('a signal ends the process, with somebody logged in to the editor', async () => {
    child.kill('SIGTERM')
    assert.deepEqual(await once(child, 'exit'), [0, null])
  })
})

const logIn = (editor: string, password: string): Promise<Response> =>
  fetch(`${editor}auth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      client_id: 'node-red-admin',
      grant_type: 'password',
      scope: '*',
      username: 'admin',
      password,
    }),
  })

test('a port that is taken is one line and a failure', async t => {
  const broker = await startBroker(t)
  const { file } = await writeConfig(await temporaryDirectory(t), broker, broker.port)
  const { code, stderr } = await output(run(t, '--config', file))
  assert.equal(code, 1)
  assert.equal(stderr, `error ADDRESS_IN_USE: flows: port ${broker.port} is taken\n`)
})

test('an identity that is not of the role flows is refused', async t => {
  const broker = await startBroker(t)
  const { file } = await writeConfig(await temporaryDirectory(t), broker)
  await writeFile(file, (await readFile(file, 'utf8')).replace('flows/test', 'operators/anna'))
  const { code, stderr } = await output(run(t, '--config', file))
  assert.equal(code, 2)
  assert.match(stderr, /^error CONFIG_INVALID: broker\.identity: "operators\/anna" has the role operator/)
})

test('--help says what it takes', async t => {
  const { code, stdout } = await output(run(t, '--help'))
  assert.equal(code, 0)
  assert.match(stdout, /--config <file>/)
})
