import assert from 'node:assert/strict'
import { scryptSync } from 'node:crypto'
import { test } from 'node:test'
import { hashSecret, newSecret, verifySecret } from '@faultline/protocol'

test('a secret verifies against its hash and no other does', async () => {
  const secret = newSecret()
  const hash = await hashSecret(secret)
  assert.match(hash, /^\$scrypt\$ln=14,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
  assert.ok(!hash.includes(secret))
  assert.equal(await verifySecret(secret, hash), true)
  for (const wrong of ['', `${secret} `, secret.toUpperCase(), newSecret()]) {
    assert.equal(await verifySecret(wrong, hash), false, wrong)
  }
})

test('the same secret hashes differently each time', async () => {
  assert.notEqual(await hashSecret('secret'), await hashSecret('secret'))
})

test('secrets are long, plain text and not repeated', () => {
  const secrets = Array.from({ length: 100 }, newSecret)
  assert.equal(new Set(secrets).size, 100)
  for (const secret of secrets) assert.match(secret, /^[A-Za-z0-9_-]{32}$/)
})

test('a cheaper hash written by other software verifies', async () => {
  const hash = scryptSync('password', 'NaCl', 32, { N: 1024, r: 8, p: 1 }).toString('base64').replace(/=+$/, '')
  assert.equal(await verifySecret('password', `$scrypt$ln=10,r=8,p=1$TmFDbA$${hash}`), true)
  assert.equal(await verifySecret('passwort', `$scrypt$ln=10,r=8,p=1$TmFDbA$${hash}`), false)
})

test('a hash of another form, or one that costs too much, verifies nothing and throws nothing', async () => {
  const salt = 'AAAAAAAAAAAAAAAAAAAAAA'
  const hash = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
  const forms = [
    '',
    'secret',
    '$2b$12$abcdefghijklmnopqrstuv',
    `$argon2id$v=19$m=65536,t=3,p=4$${salt}$${hash}`,
    `$scrypt$ln=0,r=8,p=1$${salt}$${hash}`,
    `$scrypt$ln=14,r=0,p=1$${salt}$${hash}`,
    `$scrypt$ln=14,r=8,p=0$${salt}$${hash}`,
    `$scrypt$ln=30,r=8,p=1$${salt}$${hash}`,
    `$scrypt$ln=18,r=99,p=99$${salt}$${hash}`,
    `$scrypt$ln=14,r=8,p=1$${salt}$AAAA`,
    `$scrypt$ln=14,r=8,p=1$${salt}`,
  ]
  for (const form of forms) assert.equal(await verifySecret('secret', form), false, form)
})
