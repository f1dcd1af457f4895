import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '@faultline/inference'
import { type Look, look } from '../../flows/dashboard/look.ts'
import { type Row, type Update, Viewers } from '../../flows/dashboard/viewers.ts'
import { ago, duration, energy, percent, short, size, words } from '../../flows/pages/format.ts'
import { type AskedLook, PageModel } from '../../flows/pages/page-model.ts'

/** A page without a browser, and what it sends. */
function page(asked: AskedLook = {}, send?: (message: object) => void) {
  const sent: object[] = []
  const model = new PageModel({ look: asked, send: send ?? (message => sent.push(message)), isVisible: () => true })
  return { page: model, sent }
}

test('a page that is told only what changes shows what the node sees, after lost updates, too', t => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  const random = new Random(1)
  const pick = (count: number) => Math.floor(random.uniform() * count)
  let view = { rows: [] as (Row & { value: number })[], parts: { total: 0 } }
  let isLost = false
  const ask = (message: object) => viewers.look('browser', look.parse((message as { payload: Look }).payload))
  const { page: shown } = page({}, ask)
  const viewers: Viewers = new Viewers({
    viewOf: () => view,
    send: (_, payload) => isLost || shown.hear({ topic: 'view', payload }),
    onError: assert.ifError,
    intervalMs: 500,
  })
  t.after(() => viewers.stop())
  shown.ask()
  for (let i = 0; i < 300; i++) {
    const keys = ['a', 'b', 'c', 'd', 'e'].sort(() => random.uniform() - 0.5).slice(0, pick(6))
    view = { rows: keys.map(key => ({ key, value: pick(3) })), parts: { total: i } }
    isLost = pick(5) === 0
    viewers.touch()
    t.mock.timers.tick(500)
    if (!isLost) assert.deepEqual(shown.view, { ...view.parts, rows: view.rows })
  }
})

test('an update that builds on another one than the page has makes it ask for all', () => {
  const { page: shown, sent } = page({ find: 'press' })
  const whole: Update = { version: 4, follows: 0, order: ['a'], rows: [{ key: 'a' }], parts: { total: 1 } }
  shown.hear({ topic: 'view', payload: whole })
  assert.deepEqual(shown.view, { total: 1, rows: [{ key: 'a' }] })
  shown.hear({ topic: 'view', payload: { version: 6, follows: 5, rows: [], parts: { total: 2 } } })
  assert.equal((shown.view as { total?: number }).total, 1)
  assert.deepEqual(sent, [{ topic: 'look', payload: { find: 'press', version: 0 } }])
})

test('a heading orders by its column, then the other way, then not at all', () => {
  const { page: shown } = page({ from: 50 })
  const seen = [0, 1, 2].map(() => {
    shown.sortBy('machine')
    return shown.sorted('machine')
  })
  assert.deepEqual(seen, ['ascending', 'descending', 'none'])
  assert.equal(shown.look.from, 0, 'from the beginning')
})

test('numbers are written with their units, and what is not known as a dash', () => {
  assert.equal(size(0), '0 B')
  assert.equal(size(999), '999 B')
  assert.equal(size(1_234_567), '1.2 MB')
  assert.equal(size(null), '–')
  assert.equal(energy(2_500), '2.5 kJ')
  assert.equal(percent(0.0495), '5.0 %')
  assert.equal(percent(0.25), '25 %')
  assert.equal(percent(null), '–')
  assert.equal(short(0.123456), '0.123')
  assert.equal(duration(59), '59 s')
  assert.equal(duration(7_200), '2 h')
  assert.equal(duration(13 * 86_400), '13 d')
  assert.equal(ago('2026-01-01T11:58:00.000Z', Date.UTC(2026, 0, 1, 12)), '2 min ago')
  assert.equal(words('outer-race'), 'Outer race')
})

test('what a node refuses is said on the page', () => {
  const { page: shown } = page()
  shown.hear({
    topic: 'shelve',
    payload: {},
    error: { message: 'cannot be shelved for more than 480 minutes' },
  })
  assert.match(shown.trouble, /480 minutes/)
})
