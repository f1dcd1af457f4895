import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Look, look } from '../../flows/dashboard/look.ts'
import { type Update, type View, Viewers } from '../../flows/dashboard/viewers.ts'

const intervalMs = 500

/** Viewers of one changing view, on a clock that stands still until it is told to go on. */
function viewersOf(t: TestContext, first: View) {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const sent: { client: string; update: Update }[] = []
  const errors: unknown[] = []
  let view = first
  const viewers = new Viewers({
    viewOf: asked => (asked.show === 'broken' ? assert.fail('broken') : view),
    send: (client, update) => sent.push({ client, update }),
    onError: error => errors.push(error),
    intervalMs,
  })
  t.after(() => viewers.stop())
  return {
    errors,
    look: (client: string, asked: Partial<Look> = {}) => viewers.look(client, look.parse(asked)),
    /** The view is another from now on. */
    become: (next: View) => {
      view = next
      viewers.touch()
    },
    pass: (ms: number) => {
      now += ms
      t.mock.timers.tick(ms)
    },
    /** What was sent since this was asked last. */
    sent: () => sent.splice(0),
  }
}

const row = (key: string, value: number) => ({ key, value })
const parts = { total: 1, connected: true }

test('a page that asks gets all of it at once, and then what has changed alone', t => {
  const { look, become, pass, sent } = viewersOf(t, { rows: [row('a', 1), row('b', 1)], parts })
  look('browser')
  assert.deepEqual(sent(), [
    {
      client: 'browser',
      update: { version: 1, follows: 0, order: ['a', 'b'], rows: [row('a', 1), row('b', 1)], parts },
    },
  ])
  pass(intervalMs)
  become({ rows: [row('a', 1), row('b', 2)], parts })
  pass(intervalMs)
  assert.deepEqual(
    sent().map(({ update }) => update),
    [{ version: 2, follows: 1, rows: [row('b', 2)], parts: {} }],
  )
  become({ rows: [row('b', 2)], parts: { ...parts, total: 2 } })
  pass(intervalMs)
  assert.deepEqual(
    sent().map(({ update }) => update),
    [{ version: 3, follows: 2, order: ['b'], rows: [], parts: { total: 2 } }],
  )
  become({ rows: [row('b', 2)], parts: { ...parts, total: 2 } })
  pass(intervalMs)
  assert.deepEqual(sent(), [], 'nothing looks different')
})

test('a wall clock that goes back holds no page up', t => {
  const { look, become, pass, sent } = viewersOf(t, { rows: [row('a', 1)], parts })
  t.mock.timers.setTime(Date.parse('2026-01-03'))
  look('browser')
  become({ rows: [row('a', 2)], parts })
  pass(intervalMs)
  t.mock.timers.setTime(Date.parse('2026-01-01'))
  sent()
  become({ rows: [row('a', 3)], parts })
  pass(intervalMs)
  assert.equal(sent().length, 1)
})

test('a thousand changes in a second are two updates in each, and the last of them is not lost', t => {
  const { look, become, pass, sent } = viewersOf(t, { rows: [row('a', 0)], parts })
  look('browser')
  sent()
  for (let i = 1; i <= 1_000; i++) {
    become({ rows: [row('a', i)], parts })
    pass(1)
  }
  pass(intervalMs)
  const updates = sent()
  assert.ok(updates.length <= 4, `${updates.length} updates in 1.5 s`)
  assert.deepEqual(updates.at(-1)?.update.rows, [row('a', 1_000)])
})

test('after a pause an event is out at once, with what comes in the same burst', t => {
  const { look, become, pass, sent } = viewersOf(t, { rows: [row('a', 0)], parts })
  look('browser')
  pass(5_000)
  sent()
  become({ rows: [row('a', 1)], parts })
  become({ rows: [row('a', 2)], parts })
  pass(50)
  assert.deepEqual(
    sent().map(({ update }) => update.rows),
    [[row('a', 2)]],
  )
})

test('a page that lost an update, or begins anew, gets all of it again', t => {
  const { look, become, pass, sent } = viewersOf(t, { rows: [row('a', 0)], parts })
  look('browser')
  become({ rows: [row('a', 1)], parts })
  pass(intervalMs)
  sent()
  look('browser', { version: 2 })
  assert.deepEqual(sent(), [], 'it has the last one')
  look('browser', { version: 1 })
  const [again] = sent()
  assert.deepEqual([again?.update.version, again?.update.follows, again?.update.rows], [3, 0, [row('a', 1)]])
})

test('a page that is closed is forgotten, and one that says it is there is not', t => {
  const { look, become, pass, sent } = viewersOf(t, { rows: [row('a', 0)], parts })
  look('closed')
  look('open')
  pass(15_000)
  look('open', { version: 1 })
  pass(10_000)
  sent()
  become({ rows: [row('a', 1)], parts })
  pass(intervalMs)
  assert.deepEqual(
    sent().map(({ client }) => client),
    ['open'],
  )
})

test('a view that cannot be made is an error, and the others are served', t => {
  const { look, become, pass, sent, errors } = viewersOf(t, { rows: [row('a', 0)], parts })
  assert.throws(() => look('first', { show: 'broken' }), /broken/)
  look('second')
  sent()
  become({ rows: [row('a', 1)], parts })
  pass(intervalMs)
  assert.equal(errors.length, 1)
  assert.deepEqual(
    sent().map(({ client }) => client),
    ['second'],
  )
})
