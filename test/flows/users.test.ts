import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { flowUser, hashPassword } from '../../flows/users.ts'
import { startScript } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { startBroker } from './fixtures.ts'

const cleanups: (() => unknown)[] = []
const shared = { after: (work: () => unknown) => void cleanups.push(work) } as Parameters<typeof startBroker>[0]
const roles = ['viewer', 'operator', 'admin'] as const
let editor = ''

before(async () => {
  const broker = await startBroker(shared)
  const users = await Promise.all(
    roles.map(async role => ({ name: role, role, passwordHash: await hashPassword(`the password of ${role}`) })),
  )
  const directory = await temporaryDirectory(shared)
  const file = join(directory, 'flows.yaml')
  const { url, identity, secret } = broker.flows
  const config = { userDirectory: directory, port: 0, broker: { url, identity: identity.name, secret }, users }
  await writeFile(file, JSON.stringify(config)) // JSON is YAML.
  // A process of its own: who is logged in to the editor keeps it alive (see FlowRunner.stop).
  const program = startScript(shared, 'flows/main.ts', ['--config', file])
  editor = (await program.said(/"editor":"([^"]+)"/, 120_000))[1]!
})

after(async () => {
  for (const work of cleanups.reverse()) await work()
})

const logIn = (username: string, password: string): Promise<Response> =>
  fetch(`${editor}auth/token`, {
    method: 'POST',
    body: new URLSearchParams({ client_id: 'node-red-editor', grant_type: 'password', scope: '', username, password }),
  })

async function statuses(role: string): Promise<number[]> {
  const { access_token } = (await (await logIn(role, `the password of ${role}`)).json()) as { access_token: string }
  const headers = { Authorization: `Bearer ${access_token}`, 'content-type': 'application/json' }
  const asks = [
    fetch(`${editor}flows`, { headers }),
    fetch(`${editor}inject/nowhere`, { method: 'POST', headers }),
    fetch(`${editor}flow`, { method: 'POST', headers, body: JSON.stringify({ label: 'new', nodes: [] }) }),
  ]
  return (await Promise.all(asks)).map(({ status }) => status)
}

test('a viewer reads flows, an operator presses their buttons, an admin changes them', async () => {
  // To read the flows; to press a button (404: there is none of that name); to add a flow.
  assert.deepEqual(await statuses('viewer'), [200, 401, 401])
  assert.deepEqual(await statuses('operator'), [200, 404, 401])
  assert.deepEqual(await statuses('admin'), [200, 404, 200])
})

test('a wrong password, an unknown name and nobody at all are kept out', async () => {
  assert.equal((await logIn('admin', 'the password of viewer')).status, 403)
  assert.equal((await logIn('nobody', 'a guess')).status, 403)
  assert.equal((await fetch(`${editor}flows`)).status, 401)
})

test('the editor cannot be put into a frame of another site, and its answers are what they say they are', async () => {
  const { headers } = await fetch(editor)
  assert.equal(headers.get('x-content-type-options'), 'nosniff')
  assert.match(headers.get('content-security-policy') ?? '', /frame-ancestors 'self'/)
  assert.equal(headers.get('referrer-policy'), 'no-referrer')
})

test('a password in the clear is no hash', () => {
  assert.equal(flowUser.safeParse({ name: 'anna', role: 'admin', passwordHash: 'secret' }).success, false)
})
