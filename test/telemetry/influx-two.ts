import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'

export interface InfluxTwo {
  url: string
  /** Lines that were written, in order. */
  lines: string[]
  /** Statements that were asked. */
  queries: string[]
  /** Answers the next write of a line that has this text as a refusal of that line. */
  refuses: string | undefined
}

/**
 * The 1.x endpoints of an InfluxDB 2 as its documentation describes them: a token on every request, a bucket mapped to the
 * database, one of its precisions, line protocol, no statement but SELECT and SHOW.
 */
export async function startInfluxTwo(
  t: { after(clean: () => Promise<void>): void },
  { token, database }: { token: string; database: string },
): Promise<InfluxTwo> {
  const two: InfluxTwo = { url: '', lines: [], queries: [], refuses: undefined }
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<unknown> => {
    const raw = Buffer.concat(await request.toArray())
    const body = (request.headers['content-encoding'] === 'gzip' ? gunzipSync(raw) : raw).toString()
    const answer = (status: number, json?: object) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(json && JSON.stringify(json))
    const { pathname, searchParams: parameters } = new URL(request.url!, 'http://localhost')
    if (request.headers.authorization !== `Token ${token}`) {
      return answer(401, { code: 'unauthorized', message: 'unauthorized access' })
    }
    if (parameters.get('db') !== database) {
      return answer(404, { code: 'not found', message: 'no dbrp mapping found' })
    }
    if (pathname === '/query') {
      const query = parameters.get('q') ?? ''
      two.queries.push(query)
      if (!/^\s*(SELECT|SHOW)\b/i.test(query)) return answer(400, { error: 'not implemented' })
      return answer(200, { results: [{ statement_id: 0 }] })
    }
    if (pathname !== '/write' || request.method !== 'POST') return answer(404)
    if (!['ns', 'us', 'ms', 's'].includes(parameters.get('precision') ?? 'ns')) return answer(400)
    const lines = body.split('\n')
    const malformed = lines.find(line => !/^[a-z_]+(,[A-Za-z]+=(\\.|[^ ,=\\])+)* \S.*=.* \d{10,19}$/.test(line))
    if (malformed) return answer(400, { code: 'invalid', message: `unable to parse '${malformed}'` })
    const { refuses } = two
    two.lines.push(...lines.filter(line => refuses === undefined || !line.includes(refuses)))
    if (refuses !== undefined && body.includes(refuses)) {
      const message = 'failure writing points to database: partial write: field type conflict dropped=1'
      return answer(422, { code: 'unprocessable entity', message })
    }
    return answer(204)
  }
  const server = createServer((request, response) => {
    handle(request, response).catch(error => response.destroy(error))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(async () => {
    server.close()
    server.closeAllConnections()
  })
  two.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return two
}
