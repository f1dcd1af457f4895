import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { MachineParts } from '../../flows/dashboard/machine-view.ts'
import { flowUser, hashPassword, userRoles } from '../../flows/users.ts'
import { cookieOf, PageConnection, sendLogin } from '../support/dashboard.ts'
import { startScript } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { address, inference, startBroker, startClients } from './fixtures.ts'

const cleanups: (() => unknown)[] = []
const shared = { after: (work: () => unknown) => void cleanups.push(work) } as Parameters<typeof startBroker>[0]
let clients: Awaited<ReturnType<typeof startClients>>
let editor = ''
let dashboard = ''
/** By role, once logged in to the dashboard. */
const cookies = new Map<string, string>()

before(async () => {
  const broker = await startBroker(shared)
  clients = await startClients(shared, broker.url)
  const users = await Promise.all(
    // Few rounds: what takes long to guess takes long to test.
    userRoles.map(async role => ({ name: role, role, passwordHash: await hashPassword(`the password of ${role}`, 4) })),
  )
  const directory = await temporaryDirectory(shared)
  const file = join(directory, 'flows.yaml')
  const { url, identity, secret } = broker.flows
  const config = { userDirectory: directory, port: 0, broker: { url, identity: identity.name, secret }, users }
  await writeFile(file, JSON.stringify(config)) // JSON is YAML.
  // A process of its own: who is logged in to the editor keeps it alive (see FlowRunner.stop).
  const program = startScript(shared, 'flows/main.ts', ['--config', file])
  const [, dashboardUrl, editorUrl] = await program.said(/"dashboard":"([^"]+)","editor":"([^"]+)"/, 120_000)
  dashboard = dashboardUrl!
  editor = editorUrl!
  await program.said(/connected to the broker/)
  for (const role of userRoles) {
    cookies.set(role, cookieOf(await sendLogin(dashboard, role, `the password of ${role}`)))
  }
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

/** A page that is open; it closes with the test file. */
async function openPage(headers: Record<string, string>): Promise<PageConnection & { answer: string }> {
  const page = new PageConnection(dashboard, headers)
  shared.after(() => page.close())
  return Object.assign(page, { answer: await page.open() })
}

const pageOf = (role: string) => openPage({ cookie: cookies.get(role)! })

async function raise(machine: string): Promise<{ site: string; machine: string; fault: string }> {
  const device = await clients.device(`pi-${machine}`)
  for (let i = 0; i < 4; i++) await device.publish(address(`pi-${machine}`), inference('ball', { machine }))
  await clients.alarm(alarm => alarm.machine === machine && alarm.state === 'unacknowledged')
  return { site: 'plant-a', machine, fault: 'ball' }
}

test('a viewer reads flows, an operator presses their buttons, an admin changes them', async () => {
  // To read the flows; to press a button (404: there is none of that name); to add a flow.
  assert.deepEqual(await statuses('viewer'), [200, 401, 401])
  assert.deepEqual(await statuses('operator'), [200, 404, 401])
  assert.deepEqual(await statuses('admin'), [200, 404, 200])
})

test('a wrong password, an unknown name and nobody at all are kept out of the editor', async () => {
  assert.equal((await logIn('admin', 'the password of viewer')).status, 403)
  assert.equal((await logIn('nobody', 'a guess')).status, 403)
  assert.equal((await fetch(`${editor}flows`)).status, 401)
})

test('the editor cannot be put into a frame of another site, and its answers are what they say they are', async () => {
  const { headers } = await fetch(editor)
  assert.equal(headers.get('x-content-type-options'), 'nosniff')
  assert.match(headers.get('content-security-policy') ?? '', /frame-ancestors 'self'/)
  assert.equal(headers.get('referrer-policy'), 'same-origin')
})

test('a password in the clear is no hash', () => {
  assert.equal(flowUser.safeParse({ name: 'anna', role: 'admin', passwordHash: 'secret' }).success, false)
})

test('who is not logged in sees nothing of the dashboard but the page that asks', async () => {
  const get = (path: string, accept = '*/*') =>
    fetch(new URL(path, dashboard), { redirect: 'manual', headers: { accept } })
  const page = await get('/dashboard/machine?site=a&machine=b', 'text/html')
  assert.equal(page.status, 302)
  assert.equal(page.headers.get('location'), `/login?to=${encodeURIComponent('/dashboard/machine?site=a&machine=b')}`)
  const closed = ['/dashboard/_setup', '/dashboard/_debug/datastore/fl-view', '/dashboard/favicon.svg', '/session']
  assert.deepEqual(await Promise.all(closed.map(async path => (await get(path)).status)), [401, 401, 401, 401])
  const login = await get('/login')
  assert.match(login.headers.get('content-security-policy')!, /default-src 'none'.*frame-ancestors 'none'/)
  assert.equal(login.headers.get('cache-control'), 'no-store')
})

test('a login opens the page that was asked for, by a cookie that scripts and other sites cannot use', async () => {
  const response = await sendLogin(dashboard, 'operator', 'the password of operator', {
    to: '/dashboard/machine?site=a',
  })
  assert.equal(response.status, 303)
  assert.equal(response.headers.get('location'), '/dashboard/machine?site=a')
  assert.match(response.headers.get('set-cookie')!, /^faultline=s%3A\S+; Path=\/; HttpOnly; SameSite=Lax$/)
  const session = await fetch(new URL('/session', dashboard), { headers: { cookie: cookieOf(response) } })
  assert.deepEqual(await session.json(), { name: 'operator', role: 'operator' })
})

test('behind HTTPS the cookie goes over nothing less', async () => {
  const response = await sendLogin(dashboard, 'viewer', 'the password of viewer', { 'x-forwarded-proto': 'https' })
  assert.match(response.headers.get('set-cookie')!, /; Secure/)
})

test('a login leads to no other site', async () => {
  for (const to of [
    'https://elsewhere.example/',
    '//elsewhere.example',
    '/\\elsewhere.example',
    '/..//elsewhere.example',
  ]) {
    const response = await sendLogin(dashboard, 'viewer', 'the password of viewer', { to })
    assert.equal(response.headers.get('location'), '/', to)
  }
})

test('a page of another site can neither log somebody in or out nor open a web socket with their cookie', async () => {
  const cookie = cookies.get('operator')!
  const origin = 'https://elsewhere.example'
  assert.equal((await sendLogin(dashboard, 'viewer', 'the password of viewer', { origin })).status, 403)
  for (const [name, value] of [
    ['origin', origin],
    ['origin', 'null'],
    ['sec-fetch-site', 'cross-site'],
  ] as const) {
    const headers = { cookie, [name]: value }
    const logout = await fetch(new URL('/logout', dashboard), { method: 'POST', headers })
    assert.equal(logout.status, 403)
    assert.match((await openPage(headers)).answer, /^44.*LOGIN_REQUIRED/)
  }
  assert.match((await openPage({ cookie, origin: new URL(dashboard).origin })).answer, /^40/)
})

test('without a session, or with a cookie that was made up, a web socket is refused and closed', async () => {
  const forged = cookies.get('operator')!.replace(/.$/, sign => (sign === 'A' ? 'B' : 'A'))
  for (const cookie of ['', 'faultline=s%3Aguessed', forged]) {
    const page = new PageConnection(dashboard, cookie === '' ? {} : { cookie })
    const { closed } = page
    assert.match(await page.open(), /^44.*LOGIN_REQUIRED/)
    await closed
  }
})

test('what an operator does with an alarm is signed with their name, whatever their browser says', async () => {
  const alarm = await raise('signed')
  const page = await pageOf('operator')
  page.send('fl-view', {
    topic: 'acknowledge',
    payload: { ...alarm, by: 'somebody else', comment: 'seen' },
    user: { name: 'somebody else', role: 'admin' },
  })
  const { action } = await clients.alarm(({ machine, state }) => machine === 'signed' && state === 'acknowledged')
  assert.equal(action?.by, 'operator')
  assert.equal(action?.comment, 'seen')
})

test('a viewer sees, and does nothing', async () => {
  const alarm = await raise('looked-at')
  const viewer = await pageOf('viewer')
  viewer.send('fl-view', { topic: 'acknowledge', payload: alarm, user: { name: 'admin', role: 'admin' } })
  viewer.send('fl-machine-view', { topic: 'zones', payload: { ...alarm, limits: [1, 2, 3] } })
  viewer.send('fl-machine-view', { topic: 'look', payload: { open: `${alarm.site}/${alarm.machine}` } })
  const [, answer] = await viewer.heard(
    ([name, message]) => name === 'msg-input:fl-machine-view' && (message as { topic?: string }).topic === 'view',
  )
  const { zones, alarms } = (answer as { payload: { parts: MachineParts } }).payload.parts
  assert.deepEqual(zones, [1.4, 2.8, 4.5], 'the limits of the zones are as they were')
  assert.equal(alarms[0]?.state, 'unacknowledged')
})

test('no browser changes what others are shown', async () => {
  const page = await pageOf('operator')
  const payload = { open: 'plant-a/looked-at' }
  const message = { topic: 'look', payload, ui_update: { format: '<script>alert(1)</script>' } }
  page.send('fl-machine-view', message)
  const [, answer] = await page.heard(([name]) => name === 'msg-input:fl-machine-view')
  assert.ok(!JSON.stringify(answer).includes('alert'))
})

test('a logout ends the session and closes its pages', async () => {
  const cookie = cookieOf(await sendLogin(dashboard, 'operator', 'the password of operator'))
  const { closed } = await openPage({ cookie })
  assert.equal(
    (await fetch(new URL('/logout', dashboard), { method: 'POST', headers: { cookie }, redirect: 'manual' })).status,
    303,
  )
  await closed
  assert.match((await openPage({ cookie })).answer, /^44.*LOGIN_REQUIRED/)
})

test('guesses come to an end, while those who are logged in stay', async () => {
  let guesses = 0
  while ((await sendLogin(dashboard, 'admin', `guess ${guesses}`)).status === 401) guesses++
  assert.ok(guesses >= 10 && guesses < 30, `${guesses} guesses`)
  const right = await sendLogin(dashboard, 'admin', 'the password of admin')
  assert.equal(right.status, 429)
  assert.equal(right.headers.get('retry-after'), '60')
  const session = await fetch(new URL('/session', dashboard), { headers: { cookie: cookies.get('admin')! } })
  assert.equal(session.status, 200)
})
