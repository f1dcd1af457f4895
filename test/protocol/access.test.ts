import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type Access,
  covers,
  examples,
  type Identity,
  identityOf,
  isAllowed,
  type Role,
  topicFilter,
  topicKinds,
  topicOf,
} from '@faultline/protocol'
import fc from 'fast-check'

const device = identityOf('device', 'plant-a', 'press-3')
const identities: Record<Role, Identity> = {
  device,
  server: identityOf('server', 'hall-1'),
  recorder: identityOf('recorder', 'main'),
  flows: identityOf('flows', 'main'),
  operator: identityOf('operator', 'anna'),
  site: identityOf('site', 'plant-a'),
}
const mayPublish = (identity: Identity, topic: string): boolean => isAllowed(identity, 'publish', topic)
const maySubscribe = (identity: Identity, filter: string): boolean => isAllowed(identity, 'subscribe', filter)

test('a device speaks and listens under its own name only', () => {
  const own = topicKinds.filter(kind => mayPublish(device, topicOf(examples[kind].address)))
  assert.deepEqual(own, [
    'state',
    'health',
    'config-reported',
    'command-result',
    'update-request',
    'update-status',
    'inference',
    'summary',
    'escalation',
    'evidence',
  ])
  for (const kind of topicKinds) {
    const topic = topicOf(examples[kind].address)
    for (const other of [identityOf('device', 'plant-a', 'press-4'), identityOf('device', 'plant-b', 'press-3')]) {
      assert.ok(!mayPublish(other, topic), `${other.name} publishes ${topic}`)
      // What servers carry, and what all like machines have taught, is for every device.
      assert.equal(maySubscribe(other, topic), ['server-state', 'pool'].includes(kind), `${other.name} reads ${topic}`)
    }
  }
})

test('only servers add evidence up, and no device reads what another has learned', () => {
  for (const [role, identity] of Object.entries(identities)) {
    assert.equal(mayPublish(identity, topicOf(examples.pool.address)), role === 'server', role)
    assert.equal(mayPublish(identity, topicOf(examples.evidence.address)), role === 'device', role)
  }
  assert.ok(maySubscribe(identities.server, topicFilter('evidence')))
  assert.ok(!maySubscribe(device, topicFilter('evidence')))
})

test("a device whose name begins like another's has none of its rights", () => {
  const shorter = identityOf('device', 'plant-a', 'press')
  assert.ok(!mayPublish(shorter, topicOf(examples.state.address)))
  assert.ok(!maySubscribe(shorter, topicOf(examples.verdict.address)))
})

test('a device reads what servers say of themselves, and cannot say it for them', () => {
  assert.ok(maySubscribe(device, topicFilter('server-state')))
  assert.ok(!maySubscribe(device, 'faultline/v1/servers/#'))
  assert.ok(!mayPublish(device, topicOf(examples['server-state'].address)))
})

test('a device cannot read the verdicts of all', () => {
  assert.ok(maySubscribe(device, topicFilter('verdict', { site: 'plant-a', device: 'press-3' })))
  for (const filter of ['#', '+/#', 'faultline/#', 'faultline/v1/#', topicFilter('verdict'), '$SYS/#']) {
    assert.ok(!maySubscribe(device, filter), filter)
  }
})

test('a server answers escalations but does not raise alarms or command devices', () => {
  assert.ok(mayPublish(identities.server, topicOf(examples.verdict.address)))
  assert.ok(maySubscribe(identities.server, topicFilter('escalation')))
  for (const kind of ['alarm', 'command', 'config-desired', 'inference', 'escalation'] as const) {
    assert.ok(!mayPublish(identities.server, topicOf(examples[kind].address)), kind)
  }
})

test("the bridge of a site speaks for the devices of its site, and for no others'", () => {
  const { site } = identities
  for (const kind of ['escalation', 'upstream-verdict'] as const) {
    const { address } = examples[kind]
    assert.ok(mayPublish(site, topicOf(address)), kind)
    assert.ok(!mayPublish(site, topicOf({ ...address, site: 'plant-b' })), kind)
  }
  for (const kind of ['verdict', 'upstream-escalation'] as const) {
    assert.ok(maySubscribe(site, topicFilter(kind, { site: 'plant-a' })), kind)
    assert.ok(!maySubscribe(site, topicFilter(kind)), kind)
  }
  for (const kind of ['verdict', 'inference', 'alarm', 'upstream-escalation'] as const) {
    assert.ok(!mayPublish(site, topicOf(examples[kind].address)), kind)
  }
})

test('a recorder only listens', () => {
  for (const kind of topicKinds) assert.ok(!mayPublish(identities.recorder, topicOf(examples[kind].address)), kind)
  for (const kind of ['inference', 'summary', 'health', 'state', 'alarm', 'server-state'] as const) {
    assert.ok(maySubscribe(identities.recorder, topicFilter(kind)), kind)
  }
})

test('only flows write alarms; operators and flows command', () => {
  const writers = (kind: 'alarm' | 'command'): string[] =>
    Object.values(identities)
      .filter(identity => mayPublish(identity, topicOf(examples[kind].address)))
      .map(identity => identity.role)
  assert.deepEqual(writers('alarm'), ['flows'])
  assert.deepEqual(writers('command'), ['flows', 'operator'])
})

test('only operators offer updates, and each device its own only takes', () => {
  for (const kind of ['update-offer', 'update-chunk'] as const) {
    const topic = topicOf(examples[kind].address)
    const writers = Object.values(identities).filter(identity => mayPublish(identity, topic))
    assert.deepEqual(
      writers.map(({ role }) => role),
      ['operator'],
    )
    assert.ok(maySubscribe(device, topic))
    assert.ok(!maySubscribe(device, topicFilter(kind)))
  }
})

test('flows and operators command rollouts, and only a rollout service, which is an operator, says what came of them', () => {
  const writers = (kind: 'rollout' | 'rollout-command' | 'rollout-result' | 'rollout-service'): string[] =>
    Object.values({ ...identities, service: identityOf('operator', 'rollouts') })
      .filter(identity => mayPublish(identity, topicOf(examples[kind].address)))
      .map(({ name }) => name)
  assert.deepEqual(writers('rollout-command'), ['flows/main', 'operators/anna', 'operators/rollouts'])
  for (const kind of ['rollout', 'rollout-result'] as const)
    assert.deepEqual(writers(kind), ['operators/anna', 'operators/rollouts'])
  assert.deepEqual(writers('rollout-service'), ['operators/rollouts'])
  for (const kind of ['rollout', 'rollout-command', 'rollout-service'] as const)
    assert.ok(!maySubscribe(device, topicFilter(kind)), kind)
})

test('names that are no identifiers are never published to', () => {
  const own = `faultline/v1/${device.name}/points`
  assert.ok(mayPublish(device, `${own}/drive-end/inference`))
  for (const point of ['', 'Drive End', 'größe', '\u0000', 'x'.repeat(64), '$SYS', '+']) {
    assert.ok(!mayPublish(device, `${own}/${point}/inference`), point)
  }
})

test('a topic with a wildcard is never one to publish to', () => {
  for (const topic of [topicFilter('verdict'), 'faultline/v1/servers/hall-1/#', topicFilter('alarm')]) {
    for (const identity of Object.values(identities)) assert.ok(!mayPublish(identity, topic), topic)
  }
})

/** MQTT 3.1.1, 4.7, written anew without wildcards in the topic. */
function matches(filter: string, topic: string): boolean {
  if (topic.startsWith('$') && !filter.startsWith('$')) return false
  const escaped = filter
    .split('/')
    .map(level => (level === '+' ? '[^/]*' : level.replace(/[$^.*?()[\]{}|\\]/g, '\\$&')))
  const last = escaped.at(-1)
  const pattern =
    last === '#' ? (escaped.length === 1 ? '.*' : `${escaped.slice(0, -1).join('/')}(/.*)?`) : escaped.join('/')
  return new RegExp(`^${pattern}$`, 's').test(topic)
}

const level = fc.constantFrom('a', 'b', '', '$SYS')
const topic = fc.array(level, { minLength: 1, maxLength: 4 }).map(levels => levels.join('/'))
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, open]) => (open ? [...levels.slice(0, 3), '#'] : levels).join('/'))

test('what a granted filter covers matches nothing beyond it', () => {
  let covered = 0
  fc.assert(
    fc.property(fc.oneof(filter, fc.constant('#')), filter, topic, (granted, requested, name) => {
      if (!covers(granted, requested)) return
      covered++
      if (matches(requested, name)) assert.ok(matches(granted, name), `${granted} covers ${requested} but not ${name}`)
    }),
    { numRuns: 20_000 },
  )
  assert.ok(covered > 500, `only ${covered} pairs were put to the test`)
})

test('a granted filter covers every topic it matches, and itself', () => {
  fc.assert(
    fc.property(filter, topic, (granted, name) => {
      assert.ok(covers(granted, granted))
      assert.equal(covers(granted, name), matches(granted, name), `${granted} and ${name}`)
    }),
    { numRuns: 5_000 },
  )
})

test('no role gains by asking in odd ways', () => {
  const requests = ['', '/', '+', '#', '$share/x/#', '$SYS', 'faultline/v1/devices/+/+/#', 'faultline/v1/devices/#']
  for (const request of requests) {
    for (const access of ['publish', 'subscribe'] satisfies Access[]) {
      assert.ok(!isAllowed(device, access, request), `${access} ${request}`)
      assert.ok(!isAllowed(identities.server, access, request), `${access} ${request}`)
    }
  }
})
