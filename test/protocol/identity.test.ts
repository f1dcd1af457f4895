import assert from 'node:assert/strict'
import { test } from 'node:test'
import { identityOf, parseIdentity, roles } from '@faultline/protocol'
import fc from 'fast-check'
import { identifier } from '../support/arbitraries.ts'

test('an identity comes back from its name', () => {
  fc.assert(
    fc.property(identifier, identifier, (site, id) => {
      const device = identityOf('device', site, id)
      assert.deepEqual(parseIdentity(device.name), device)
      for (const role of roles) {
        if (role === 'device') continue
        const identity = identityOf(role, id)
        assert.deepEqual(parseIdentity(identity.name), identity)
        assert.notEqual(identity.name, device.name)
      }
    }),
  )
})

test('a name that is none is refused with a code', () => {
  const names = [
    '',
    'devices',
    'devices/',
    'devices/plant-a',
    'devices/plant-a/press-3/more',
    'devices/+/+',
    'devices/#/a',
    'servers/a/b',
    'servers/A',
    'operator/anna',
    'constructor/a',
    '__proto__/a',
    'x'.repeat(100_000),
  ]
  for (const name of names) assert.throws(() => parseIdentity(name), { code: 'IDENTIFIER_INVALID' }, name.slice(0, 40))
})

test('any text is an identity or refused with a code', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), text => {
      try {
        assert.equal(parseIdentity(text).name, text)
      } catch (error) {
        assert.equal((error as { code: string }).code, 'IDENTIFIER_INVALID')
      }
    }),
  )
})
