import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { get, type RequestOptions } from 'node:https'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { silentLogger } from '@faultline/runtime'
import { WebServer } from '../../flows/web-server.ts'
import { TestAuthority } from '../support/authority.ts'
import { temporaryDirectory } from '../support/temp.ts'

const logger = silentLogger

async function ask(url: string, options: RequestOptions): Promise<string> {
  const [response] = await once(get(url, options), 'response')
  return text(response)
}

test('passwords do not pass readable beyond this machine, unless somebody said so', async t => {
  const listener = () => {}
  await assert.rejects(new WebServer({ host: '0.0.0.0', port: 0, logger }, listener).start(), {
    code: 'CONFIG_INVALID',
    message: /use tls, or say plain: anywhere/,
  })
  const open = new WebServer({ host: '0.0.0.0', port: 0, plain: 'anywhere', logger }, listener)
  t.after(() => open.stop())
  await open.start()
  assert.equal(open.origin, `http://localhost:${open.port}`)
})

test('with a certificate it speaks HTTPS', async t => {
  const authority = await TestAuthority.create(await temporaryDirectory(t))
  const web = new WebServer({ host: '0.0.0.0', port: 0, tls: await authority.server(), logger }, (_, response) => {
    response.end('pages')
  })
  t.after(() => web.stop())
  await web.start()
  assert.equal(web.origin, `https://localhost:${web.port}`)
  assert.equal(await ask(web.origin, { ca: await readFile(authority.ca) }), 'pages')
})
