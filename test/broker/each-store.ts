import { after, type TestContext, test } from 'node:test'
import type { BrokerOptions } from '@faultline/broker'
import { missing } from '../support/programs.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { startBroker, type TestBroker } from './harness.ts'

type Start = (options?: Partial<BrokerOptions>) => Promise<TestBroker>

let redis: TestRedis | undefined
const endings: (() => Promise<void>)[] = []
after(async () => {
  for (const end of endings) await end()
})

/** The URL of an empty Redis, one for a file of tests. */
async function emptyRedis(): Promise<string> {
  redis ??= await startRedis({ after: end => endings.unshift(end) })
  await redis.flush()
  return redis.url
}

/** A test of what a broker does with a store of its own, and as one of a cluster. */
export function testEachStore(what: string, run: (start: Start, t: TestContext) => Promise<void>): void {
  test(what, t => run(options => startBroker(t, options), t))
  test(`in a cluster: ${what}`, { skip: missing('redis-server') }, async t => {
    const url = await emptyRedis()
    await run(options => startBroker(t, { redis: url, ...options }), t)
  })
}
