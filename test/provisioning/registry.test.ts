import assert from 'node:assert/strict'
import { chmod, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { identityOf, verifySecret } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import { openDatabase } from '@faultline/runtime'
import { migrations } from '../../provisioning/migrations.ts'
import { startScript } from '../support/processes.ts'
import { endOverlap } from '../support/registry.ts'
import { temporaryDirectory } from '../support/temp.ts'

const press = identityOf('device', 'plant-a', 'press-1')
const pump = identityOf('device', 'plant-b', 'pump-2')
const anna = identityOf('operator', 'anna')

async function openRegistry(t: Parameters<typeof temporaryDirectory>[0], path = ':memory:'): Promise<Registry> {
  const registry = new Registry(path)
  await registry.start()
  t.after(() => registry.stop())
  return registry
}

test('an enrolled identity has a credential that verifies its secret and no other', async t => {
  const registry = await openRegistry(t)
  const { secret } = await registry.enroll(press)
  const credential = registry.credential(press.name)
  assert.deepEqual(credential?.identity, press)
  assert.ok(await verifySecret(secret, credential.secretHash))
  assert.equal(await verifySecret(`${secret}x`, credential.secretHash), false)
  for (const name of ['', pump.name, 'devices/plant-a/%', '__proto__'])
    assert.equal(registry.credential(name), undefined)
})

test('a name is enrolled once, until it is revoked', async t => {
  const registry = await openRegistry(t)
  const first = await registry.enroll(press)
  await assert.rejects(registry.enroll(press), { code: 'IDENTITY_EXISTS' })
  registry.revoke(press.name)
  assert.equal(registry.credential(press.name), undefined)
  const second = await registry.enroll(press)
  assert.notEqual(first.secret, second.secret)
  const hash = registry.credential(press.name)!.secretHash
  assert.ok(await verifySecret(second.secret, hash))
  assert.equal(await verifySecret(first.secret, hash), false)
  assert.equal(registry.show(press.name).revokedAt, undefined)
})

test('rotation replaces the secret', async t => {
  const registry = await openRegistry(t)
  const { secret: old } = await registry.enroll(anna)
  const { secret } = await registry.rotate(anna.name)
  const hash = registry.credential(anna.name)!.secretHash
  assert.ok(await verifySecret(secret, hash))
  assert.equal(await verifySecret(old, hash), false)
})

test('what is not enrolled, or no longer, cannot be changed', async t => {
  const registry = await openRegistry(t)
  const unknown = { code: 'IDENTITY_UNKNOWN' }
  assert.throws(() => registry.show(anna.name), unknown)
  assert.throws(() => registry.revoke(anna.name), unknown)
  await assert.rejects(registry.rotate(anna.name), unknown)
  await registry.enroll(anna)
  registry.revoke(anna.name)
  assert.throws(() => registry.revoke(anna.name), unknown)
  await assert.rejects(registry.rotate(anna.name), unknown)
})

test('the list is filtered by role and site, and leaves the revoked out unless asked', async t => {
  const registry = await openRegistry(t)
  for (const identity of [press, pump, anna]) await registry.enroll(identity)
  registry.revoke(pump.name)
  const names = (filter?: Parameters<Registry['list']>[0]) => registry.list(filter).map(({ name }) => name)
  assert.deepEqual(names(), [press.name, anna.name])
  assert.deepEqual(names({ includeRevoked: true }), [press.name, pump.name, anna.name])
  assert.deepEqual(names({ role: 'device' }), [press.name])
  assert.deepEqual(names({ site: 'plant-b' }), [])
  assert.deepEqual(names({ site: 'plant-b', includeRevoked: true }), [pump.name])
  assert.ok(registry.list({ role: 'device' })[0]?.enrolledAt)
})

test('every state change is in the audit log, which only grows', async t => {
  const path = join(await temporaryDirectory(t), 'registry.db')
  const registry = await openRegistry(t, path)
  await registry.enroll(press)
  await registry.enroll(anna)
  await registry.rotate(press.name)
  registry.revoke(press.name)
  await assert.rejects(registry.enroll(anna))
  assert.deepEqual(
    registry.history(press.name).map(({ action }) => action),
    ['enrolled', 'rotated', 'revoked'],
  )
  assert.equal(registry.history().length, 4)
  assert.ok(registry.history().every(({ at, actor }) => !Number.isNaN(Date.parse(at)) && actor !== ''))
  const database = openDatabase(path, migrations)
  t.after(() => database.close())
  for (const change of ['DELETE FROM audit_log', "UPDATE audit_log SET name = 'x'"]) {
    assert.throws(() => database.exec(change), /only grows/)
  }
})

test('an audit log of before is kept when the registry is brought up to date', async t => {
  const path = join(await temporaryDirectory(t), 'registry.db')
  const old = openDatabase(path, migrations.slice(0, 2))
  old.exec(
    `INSERT INTO identities (name, role, secret_hash, enrolled_at) VALUES ('${anna.name}', 'operator', 'x', '2026-01-01')`,
  )
  old.exec(`INSERT INTO audit_log (at, action, name, actor) VALUES ('2026-01-01', 'enrolled', '${anna.name}', 'root')`)
  old.close()
  const registry = await openRegistry(t, path)
  registry.addCertificate(anna.name, { fingerprint: 'aa', notAfter: new Date() })
  assert.deepEqual(
    registry.history(anna.name).map(({ action }) => action),
    ['enrolled', 'certified'],
  )
})

test('a certificate is whose it was issued to, until it or its identity is revoked', async t => {
  const registry = await openRegistry(t)
  const notAfter = new Date(Date.now() + 60_000)
  assert.throws(() => registry.addCertificate(press.name, { fingerprint: 'aa', notAfter }), {
    code: 'IDENTITY_UNKNOWN',
  })
  await registry.enroll(press)
  registry.addCertificate(press.name, { fingerprint: 'aa', notAfter })
  registry.addCertificate(press.name, { fingerprint: 'bb', notAfter })
  assert.deepEqual(registry.certificate('aa')?.identity, press)
  assert.deepEqual(registry.certificate('bb')?.identity, press)
  assert.equal(registry.certificate('cc'), undefined)
  registry.revoke(press.name)
  assert.equal(registry.certificate('aa'), undefined)
  await registry.enroll(press)
  assert.equal(registry.certificate('aa'), undefined)
  registry.addCertificate(press.name, { fingerprint: 'dd', notAfter })
  assert.deepEqual(registry.certificate('dd')?.identity, press)
})

test('the version of a registry changes with every change, by this process or another', async t => {
  const path = join(await temporaryDirectory(t), 'registry.db')
  const registry = await openRegistry(t, path)
  const other = await openRegistry(t, path)
  const versions = [registry.version()]
  await registry.enroll(press)
  versions.push(registry.version())
  assert.equal(registry.version(), versions.at(-1))
  await other.rotate(press.name)
  versions.push(registry.version())
  other.revoke(press.name)
  versions.push(registry.version())
  assert.equal(new Set(versions).size, versions.length)
})

test('the registry and the files beside it are for their owner alone', async t => {
  const directory = await temporaryDirectory(t)
  const path = join(directory, 'below', 'registry.db')
  const registry = await openRegistry(t, path)
  await registry.enroll(press)
  for (const file of [path, `${path}-wal`, `${path}-shm`]) assert.equal((await stat(file)).mode & 0o777, 0o600, file)
})

test('a registry that others could read is closed to them', async t => {
  const path = join(await temporaryDirectory(t), 'registry.db')
  openDatabase(path, migrations).close()
  await chmod(path, 0o644)
  await openRegistry(t, path)
  assert.equal((await stat(path)).mode & 0o777, 0o600)
})

test('an identity that comes back has not been rotated since', async t => {
  const registry = await openRegistry(t)
  await registry.enroll(press)
  await registry.rotate(press.name)
  assert.ok(registry.show(press.name).rotatedAt)
  registry.revoke(press.name)
  await registry.enroll(press)
  assert.equal(registry.show(press.name).rotatedAt, undefined)
})

test('two processes make the registry and enrol in it at the same time', async t => {
  const path = join(await temporaryDirectory(t), 'registry.db')
  const enrol = (device: string) => {
    const flags = ['enroll', '--site', 'plant-a', '--device', device, '--no-config', '--registry', path]
    return startScript(t, 'provisioning/main.ts', flags)
  }
  // The same name twice: exactly one of them is told that it came too late.
  const programs = [enrol('press-1'), enrol('press-1'), enrol('pump-2')]
  const codes = await Promise.all(programs.map(program => program.exited))
  const output = programs.map(program => program.output).join('')
  assert.equal(codes[2], 0, output)
  assert.deepEqual(codes.slice(0, 2).sort(), [0, 2], output)
  assert.match(output, /IDENTITY_EXISTS/)
  const registry = await openRegistry(t, path)
  assert.deepEqual(
    registry.list().map(({ id }) => id),
    ['press-1', 'pump-2'],
  )
  assert.equal(registry.history().length, 2)
})

test('a damaged registry is refused, with the command that restores it, and stays where it is', async t => {
  const path = join(await temporaryDirectory(t), 'registry.db')
  await writeFile(path, '')
  await assert.rejects(new Registry(path).start(), {
    code: 'DATABASE_FAILED',
    reason: 'damaged',
    message: /registry\.db: damaged: .*restore it from an export with "npm run provision -- import FILE"/,
  })
  assert.equal((await stat(path)).size, 0)
})

test('a path that cannot be a registry is refused with a code', async t => {
  const directory = await temporaryDirectory(t)
  await assert.rejects(new Registry(directory).start(), { code: 'DATABASE_FAILED' })
  assert.throws(() => new Registry(':memory:').credential('x'), { code: 'DATABASE_FAILED' })
})

test('for as long as a rotation overlaps, both secrets are good; then the old one is not, and the version says so', async t => {
  const registry = await openRegistry(t)
  const { secret: old } = await registry.enroll(anna)
  const { secret } = await registry.rotate(anna.name, { overlapMs: 60_000 })
  const during = registry.version()
  const { secretHash, formerHash } = registry.credential(anna.name)!
  assert.ok(await verifySecret(secret, secretHash))
  assert.ok(await verifySecret(old, formerHash!))
  endOverlap(registry, 0)
  assert.equal(registry.credential(anna.name)?.formerHash, undefined)
  assert.notEqual(registry.version(), during)
  // A second rotation with none leaves nothing of the first.
  await registry.rotate(anna.name, { overlapMs: 60_000 })
  await registry.rotate(anna.name)
  assert.equal(registry.credential(anna.name)?.formerHash, undefined)
})

test('a rotation to a claim leaves certificates good until it ends, and no longer', async t => {
  const registry = await openRegistry(t)
  await registry.enroll(press)
  const notAfter = new Date(Date.now() + 3_600_000)
  registry.addCertificate(press.name, { fingerprint: 'aa', notAfter })
  const grant = { kind: 'claim', validMs: 60_000 } as const
  await registry.rotate(press.name, { grant, overlapMs: 60_000 })
  assert.ok(registry.certificate('aa'))
  await assert.rejects(registry.renew('aa', assert.fail, String), { code: 'ENROLMENT_REFUSED' })
  assert.ok(Date.parse(registry.show(press.name).certificateUntil!) < notAfter.getTime())
  // A longer overlap later does not lengthen the first one; none ends it.
  await registry.rotate(press.name, { grant, overlapMs: 3_000_000 })
  assert.ok(Date.parse(registry.show(press.name).certificateUntil!) <= Date.now() + 60_000)
  await registry.rotate(press.name, { grant })
  assert.equal(registry.certificate('aa'), undefined)
  assert.equal(registry.credential(press.name)?.secretHash, '')
})

test('a certificate is none after its last day', async t => {
  const registry = await openRegistry(t)
  await registry.enroll(press)
  registry.addCertificate(press.name, { fingerprint: 'aa', notAfter: new Date(Date.now() - 1) })
  assert.equal(registry.certificate('aa'), undefined)
})

test('re-enrolment voids all there was, of an identity that was revoked too', async t => {
  const registry = await openRegistry(t)
  const { secret } = await registry.enroll(press)
  await registry.rotate(press.name, { overlapMs: 60_000 })
  registry.addCertificate(press.name, { fingerprint: 'aa', notAfter: new Date(Date.now() + 60_000) })
  const granted = await registry.reEnroll(press.name, { kind: 'secret' })
  const { secretHash, formerHash } = registry.credential(press.name)!
  assert.equal(formerHash, undefined)
  assert.equal(await verifySecret(secret, secretHash), false)
  assert.ok(granted.kind === 'secret' && (await verifySecret(granted.secret, secretHash)))
  assert.equal(registry.certificate('aa'), undefined)
  registry.revoke(press.name)
  await registry.reEnroll(press.name, { kind: 'claim', validMs: 60_000 })
  assert.deepEqual(registry.credential(press.name), { identity: press, secretHash: '' })
  assert.ok(registry.show(press.name).claimUntil)
  await assert.rejects(registry.reEnroll(pump.name, { kind: 'secret' }), { code: 'IDENTITY_UNKNOWN' })
})

test('all of a list are enrolled, or none', async t => {
  const registry = await openRegistry(t)
  await registry.enroll(pump)
  assert.throws(() => registry.enrollAll([press, pump, anna], 1_000), { code: 'IDENTITY_EXISTS' })
  assert.deepEqual(
    registry.list().map(({ name }) => name),
    [pump.name],
  )
  const claims = registry.enrollAll([press, anna], 1_000)
  assert.equal(new Set(claims.map(({ token }) => token)).size, 2)
})
