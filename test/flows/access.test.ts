import assert from 'node:assert/strict'
import { readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { silentLogger } from '@faultline/runtime'
import { adminHashFile, configuredAdmin, firstAdmin } from '../../flows/access/first-admin.ts'
import { signed } from '../../flows/access/gate.ts'
import { PageSockets } from '../../flows/access/page-sockets.ts'
import { SessionStore } from '../../flows/access/session-store.ts'
import { Sessions } from '../../flows/access/sessions.ts'
import { Accounts, type FlowUser, hashPassword } from '../../flows/users.ts'
import { logFile } from '../support/log-file.ts'
import { temporaryDirectory } from '../support/temp.ts'

const anna = { name: 'anna', role: 'operator' } as const
const guest = { name: 'guest', role: 'viewer' } as const
const everywhere = () => true
const nowhere = () => false

test('every message of a list is signed, and a list inside too many lists is not heard', () => {
  const event: unknown[] = ['widget-action', 'button', [{ payload: 1, user: guest }, null, [{ payload: 2 }]]]
  assert.equal(signed(event, anna, nowhere), true)
  assert.deepEqual(event[2], [{ payload: 1, user: anna }, null, [{ payload: 2, user: anna }]])
  assert.equal(signed(['widget-send', 'button', [[[{ payload: 1 }]]]], anna, nowhere), false)
})

test('a bare value becomes a payload, so that it can be signed', () => {
  const event: unknown[] = ['widget-send', 'slider', 5]
  signed(event, anna, nowhere)
  assert.deepEqual(event[2], { payload: 5, user: anna })
})

test('a viewer is heard only where nothing but nodes of Faultline listens', () => {
  const asks = (name: string, reaches: () => boolean) => signed([name, 'widget', { topic: 'machine' }], guest, reaches)
  assert.deepEqual(
    ['widget-send', 'widget-action'].map(name => asks(name, everywhere)),
    [true, true],
  )
  assert.deepEqual(
    ['widget-send', 'widget-action'].map(name => asks(name, nowhere)),
    [false, false],
  )
  assert.deepEqual(
    ['widget-load', 'widget-change', 'ui-control', 'a-new-one'].map(name => asks(name, everywhere)),
    [true, false, false, false],
  )
})

test('the first admin gets a password once; a damaged file gives no second one', async t => {
  const directory = await temporaryDirectory(t)
  const { user, password } = await firstAdmin(directory)
  assert.equal((await new Accounts([user]).verify('admin', password!))?.role, 'admin')
  assert.deepEqual(await firstAdmin(directory), { user })
  assert.equal((await stat(adminHashFile(directory))).mode & 0o777, 0o600)
  await writeFile(adminHashFile(directory), '')
  await assert.rejects(firstAdmin(directory), { code: 'CONFIG_INVALID' })
})

test('sessions of the configured admin outlive a restart, until another password is configured', async t => {
  const directory = await temporaryDirectory(t)
  const database = join(directory, 'sessions.db')
  await logIn(database, await configuredAdmin(directory, 'first password'))
  const personAfterRestart = async (password: string) => {
    const sessions = new Sessions(
      new Accounts([await configuredAdmin(directory, password)]),
      'key',
      database,
      silentLogger,
    )
    const person = sessions.renew('id')
    sessions.close()
    return person
  }
  assert.deepEqual(await personAfterRestart('first password'), { name: 'admin', role: 'admin' })
  assert.equal(await personAfterRestart('second password'), undefined)
  const other = new Accounts([await configuredAdmin(directory, 'second password')])
  assert.equal((await other.verify('admin', 'second password'))?.role, 'admin')
  assert.equal(await other.verify('admin', 'first password'), undefined)
})

test('no more than two passwords are checked at a time', async () => {
  const user: FlowUser = { ...anna, passwordHash: await hashPassword('right', 4) }
  const accounts = new Accounts([user])
  const attempts = ['right', 'right', 'right'].map(password => accounts.verify('anna', password))
  assert.equal(accounts.isBusy, true)
  assert.deepEqual(await Promise.all(attempts), [user, user, undefined])
  assert.equal(accounts.isBusy, false)
})

/** Puts a login into the store, as a request would. */
async function logIn(database: string, user: FlowUser): Promise<void> {
  const sessions = new Sessions(new Accounts([user]), 'key', database, silentLogger)
  const request = { session: { regenerate: (done: () => void) => done() } } as unknown as Parameters<
    Sessions['logIn']
  >[0]
  await sessions.logIn(request, user)
  sessions.close()
  const store = new SessionStore(database, silentLogger)
  store.set('id', request.session as never)
  store.close()
}

test('a session outlives a restart, but neither another password nor its user', async t => {
  const database = join(await temporaryDirectory(t), 'sessions.db')
  const user: FlowUser = { ...anna, passwordHash: await hashPassword('old', 4) }
  await logIn(database, user)
  const personWith = (users: FlowUser[]) => {
    const sessions = new Sessions(new Accounts(users), 'key', database, silentLogger)
    const person = sessions.renew('id')
    sessions.close()
    return person
  }
  assert.deepEqual(personWith([user]), anna)
  assert.deepEqual(personWith([{ ...user, role: 'viewer' }]), { name: 'anna', role: 'viewer' })
  assert.equal(personWith([{ ...user, passwordHash: await hashPassword('new', 4) }]), undefined)
  assert.equal(personWith([]), undefined)
})

test('a session ends half a day after it was last used, and after a month in any case', async t => {
  const hourMs = 3_600_000
  t.mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 0, 1) })
  const user: FlowUser = { ...anna, passwordHash: await hashPassword('right', 4) }
  const directory = await temporaryDirectory(t)
  await logIn(join(directory, 'left.db'), user)
  await logIn(join(directory, 'used.db'), user)
  const [left, used] = ['left.db', 'used.db'].map(
    file => new Sessions(new Accounts([user]), 'key', join(directory, file), silentLogger),
  )
  t.after(() => [left, used].forEach(sessions => void sessions!.close()))
  for (let hours = 0; hours < 30 * 24; hours += 11) {
    assert.ok(used!.renew('id'), `after ${hours} h`)
    t.mock.timers.tick(11 * hourMs)
    if (hours === 11) assert.equal(left!.renew('id'), undefined, 'nobody used it for 22 h')
  }
  assert.equal(used!.renew('id'), undefined)
})

test('a damaged file of the logins is set aside and costs the logins alone; one that cannot be opened likewise', async t => {
  const directory = await temporaryDirectory(t)
  const database = join(directory, 'sessions.db')
  const user: FlowUser = { ...anna, passwordHash: await hashPassword('right', 4) }
  await logIn(database, user)
  await writeFile(database, 'no database any more, and long enough that it is not taken for an empty one'.repeat(100))
  const { lines, logger } = await logFile(t)
  const open = (path: string) => {
    const sessions = new Sessions(new Accounts([user]), 'key', path, logger)
    t.after(() => sessions.close())
    return sessions
  }
  assert.equal(open(database).renew('id'), undefined)
  assert.equal((await readdir(directory)).filter(name => name.startsWith('sessions.db.damaged-')).length, 1)
  assert.deepEqual(
    lines().map(({ code }) => code),
    ['DATABASE_FAILED'],
  )
  await logIn(database, user)
  assert.deepEqual(open(database).renew('id'), anna, 'the new file keeps logins')

  assert.equal(open(directory).renew('id'), undefined, 'a directory is no file')
  assert.match(String(lines()[1]?.msg), /kept in memory/)
})

test('pages stay open while their sessions cannot be checked, and end once they can and are over', async t => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { lines, logger } = await logFile(t)
  let renew: () => typeof anna | undefined = () => anna
  const sessions = {
    middleware: (request: { session?: unknown }, _: unknown, next: () => void) => {
      request.session = {}
      next()
    },
    who: () => anna,
    renew: () => renew(),
  } as unknown as Sessions
  const sockets = new PageSockets(sessions, () => true, logger)
  sockets.start()
  t.after(() => sockets.stop())
  let disconnected = 0
  const socket = {
    request: { headers: { host: 'here', origin: 'http://here' }, sessionID: 'id' },
    conn: { close() {} },
    use() {},
    on() {},
    disconnect: () => disconnected++,
  }
  let refused: Error | undefined
  sockets.middleware(socket as never, error => {
    refused = error
  })
  assert.equal(refused, undefined)
  renew = () => {
    throw new Error('disk I/O error')
  }
  t.mock.timers.tick(60_000)
  assert.deepEqual([disconnected, lines().map(({ code }) => code)], [0, ['DATABASE_FAILED']])
  renew = () => undefined
  t.mock.timers.tick(60_000)
  assert.equal(disconnected, 1)
})
