import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  FaultlineError,
  identifierPattern,
  parseTopic,
  sharedFilter,
  type TopicAddress,
  topicFilter,
  topicKinds,
  topicOf,
  topicTemplates,
} from '@faultline/protocol'
import fc from 'fast-check'
import { address, identifier } from '../support/arbitraries.ts'

const hostileNames = [
  '',
  '-a',
  'A',
  'a b',
  'a/b',
  '+',
  '#',
  'a+',
  'a#',
  '../x',
  '$SYS',
  'é',
  'a\n',
  'a\u0000',
  'x'.repeat(64),
]

test('any address comes back from its topic', () => {
  fc.assert(fc.property(address, value => assert.deepEqual(parseTopic(topicOf(value)), value)))
})

test('two addresses have the same topic only when they are equal', () => {
  fc.assert(
    fc.property(address, address, (a, b) =>
      assert.equal(topicOf(a) === topicOf(b), JSON.stringify(a) === JSON.stringify(b)),
    ),
  )
})

test('a name that could break out of its level is refused', () => {
  for (const site of hostileNames) {
    assert.throws(() => topicOf({ kind: 'state', site, device: 'd' }), { code: 'IDENTIFIER_INVALID' }, site)
    if (site !== '') assert.throws(() => topicFilter('state', { site }), { code: 'IDENTIFIER_INVALID' }, site)
  }
  assert.throws(() => topicOf({ kind: 'state', site: 's' } as TopicAddress), { code: 'IDENTIFIER_INVALID' })
})

test('any text at all is either an identifier or refused with a code', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 80 }), name => {
      if (identifierPattern.test(name)) {
        assert.deepEqual(parseTopic(topicOf({ kind: 'server-state', server: name })), {
          kind: 'server-state',
          server: name,
        })
      } else {
        assert.throws(() => topicOf({ kind: 'server-state', server: name }), FaultlineError)
        assert.equal(parseTopic(`faultline/v1/servers/${name}/state`), undefined)
      }
    }),
  )
})

test('a topic outside the contract has no address', () => {
  const outside = [
    '',
    '/',
    'faultline/v1',
    'faultline/v2/devices/s/d/state',
    '/faultline/v1/devices/s/d/state',
    'faultline/v1/devices/s/d/state/',
    'faultline/v1/devices/s/d/unknown',
    'faultline/v1/devices/s/d/points/p/state',
    'faultline/v1/devices/s/d/config',
    'faultline/v1/devices/+/d/state',
    '$SYS/broker/version',
    'a/'.repeat(30_000),
  ]
  for (const topic of outside) assert.equal(parseTopic(topic), undefined, topic.slice(0, 50))
})

test('a filter names what is given and leaves the rest open', () => {
  assert.equal(topicFilter('inference', { site: 'plant-a' }), 'faultline/v1/devices/plant-a/+/points/+/inference')
  assert.equal(topicFilter('alarm'), 'faultline/v1/alarms/+/+/+')
  assert.equal(sharedFilter('servers', topicFilter('server-state')), '$share/servers/faultline/v1/servers/+/state')
})

test('every kind has a template of its own', () => {
  assert.equal(topicKinds.length, 24)
  const shapes = topicKinds.map(kind => topicTemplates[kind].replace(/\{\w+\}/g, '+'))
  assert.equal(new Set(shapes).size, 24)
})

test('an identifier is 1 to 63 characters', () => {
  fc.assert(fc.property(identifier, name => identifierPattern.test(name) && name.length <= 63))
  assert.ok(identifierPattern.test('x'.repeat(63)))
  assert.ok(!identifierPattern.test('x'.repeat(64)))
})
