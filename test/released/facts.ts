import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Alarm, parseTopic } from '@faultline/protocol'
import { type DatabaseSync, openReadOnly } from '@faultline/runtime'
import type { VersionedSite } from '../support/versioned-site.ts'
import type { Facts } from './format.ts'

type Row = Record<string, string | number | Uint8Array>

/** What is in the files of a site that has ended, read with SQL alone: this has to work with the files of any version. */
export async function factsOf(
  { directory, secrets }: VersionedSite,
  version: string,
  contract: string,
): Promise<Facts> {
  const rows = (file: string, sql: string): Row[] => {
    const database: DatabaseSync = openReadOnly(join(directory, file))
    try {
      return database.prepare(sql).all() as Row[]
    } finally {
      database.close()
    }
  }
  const retained = rows('broker.db', 'SELECT topic, payload FROM retained')
  const queued = "SELECT topic, payload FROM queue WHERE client = 'recorders/main'"
  const spooled = readdirSync(join(directory, 'spare'))
    .filter(name => /^\d+\.ndjson$/.test(name))
    .flatMap(name =>
      readFileSync(join(directory, 'spare', name), 'utf8')
        .split('\n')
        .filter(Boolean),
    )
  const device = (name: string) => ({
    waitingInferences: inferencesIn(rows(`${name}/agent.db`, 'SELECT topic, payload FROM messages')),
    policyStates: rows(`${name}/agent.db`, 'SELECT policy FROM policy_states').length,
    settings: rows(`${name}/agent.db`, 'SELECT name FROM settings ORDER BY name').map(row => String(row.name)),
  })
  return {
    version,
    contract,
    identities: Object.fromEntries(secrets),
    alarms: retained.filter(row => kindOf(row) === 'alarm').map(row => jsonIn(row) as unknown as Alarm),
    broker: {
      sessions: rows('broker.db', 'SELECT DISTINCT client FROM subscriptions ORDER BY client').map(row =>
        String(row.client),
      ),
      retained: retained.map(row => String(row.topic)).sort(),
      queuedInferences: inferencesIn(rows('broker.db', queued)),
    },
    telemetry: { inferences: storedInferences(join(directory, 'telemetry.db')) },
    spare: { points: spooled.length },
    devices: { 'pi-1': device('pi-1'), 'pi-2': device('pi-2') },
    archive: { windows: rows('archive/index.db', 'SELECT id FROM windows').length },
    rollouts: rows('rollouts.db', 'SELECT id, state FROM rollouts ORDER BY id') as Facts['rollouts'],
  }
}

/** Identifiers of the windows in a store of telemetry. */
export function storedInferences(path: string): string[] {
  const store = openReadOnly(path)
  const sql = `SELECT DISTINCT fields ->> '$.id' AS id FROM points JOIN series ON series = series.id
    WHERE measurement = 'inference' ORDER BY 1`
  const ids = store
    .prepare(sql)
    .all()
    .map(({ id }) => String(id))
  store.close()
  return ids
}

const inferencesIn = (messages: Row[]): string[] =>
  messages
    .filter(row => kindOf(row) === 'inference')
    .map(row => String(jsonIn(row).id))
    .sort()

const kindOf = ({ topic }: Row) => parseTopic(String(topic))?.kind

const jsonIn = ({ payload }: Row): Record<string, unknown> => JSON.parse(Buffer.from(payload as Uint8Array).toString())
