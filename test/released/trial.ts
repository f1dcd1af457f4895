import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { openReadOnly, schemaVersion } from '@faultline/runtime'
import { runCommand } from '../support/command.ts'
import { root } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { rounds } from '../support/thorough.ts'
import { type ComponentName, componentNames, VersionedSite } from '../support/versioned-site.ts'
import { Witness } from './witness.ts'

const intervalMs = 5_000
const hourMs = 3_600_000
const limitMs = 180_000
const devices = ['pi-1', 'pi-2'] as const

export type Step = [component: ComponentName, code: string]

/** Runs a site whose components change their version one by one, while its devices work through an hour of machine time in all. */
export class Trial {
  readonly site: VersionedSite
  private readonly witness: Witness
  private readonly schemas = new Map<ComponentName, number>()
  private readonly learned: Record<string, { rounds: number; baseline: unknown }> = {}

  private constructor(site: VersionedSite) {
    this.site = site
    this.witness = new Witness(site)
  }

  static async start(t: TestContext, code: string): Promise<Trial> {
    const directory = await temporaryDirectory(t)
    const site = await VersionedSite.create(t, { directory, code, intervalMs, speed: 50 })
    const trial = new Trial(site)
    await site.start('broker')
    await site.start('flows')
    await site.stop('flows')
    await site.addOwnFlow()
    t.after(() => trial.witness.stop())
    await trial.witness.start()
    for (const name of componentNames.filter(name => name !== 'broker')) await site.start(name)
    await trial.until('an alarm of each faulty machine, one acknowledged', () =>
      Boolean(trial.lastAlarm('motor-1')?.acknowledged && trial.lastAlarm('pump-1')),
    )
    return trial
  }

  async run(steps: readonly Step[]): Promise<void> {
    const alarms = ['motor-1', 'pump-1'].map(machine => this.lastAlarm(machine)!)
    const share = rounds(hourMs / intervalMs) / (steps.length + 1)
    await this.work(share)
    for (const [name, code] of steps) {
      await this.site.stop(name)
      if (name === 'pi-1' || name === 'pi-2') this.checkLearned(name)
      await this.lowerSchema(name)
      await this.site.start(name, code)
      await this.work(share)
    }
    await this.end()
    for (const first of alarms) {
      const { state, since } = first
      const later = this.witness.alarms.get(first.machine)!
      const kept = later.slice(later.indexOf(first)).filter(alarm => alarm.state === state && alarm.since === since)
      assert.equal(kept.length, later.length - later.indexOf(first), `${JSON.stringify(first)} was lost`)
    }
  }

  /**
   * Notes the schema of a component's store when it is stopped for the first time, for its upgrade, and brings the store
   * back to it before the older version starts. Who only reads the store leaves it for a moment.
   */
  private async lowerSchema(name: ComponentName): Promise<void> {
    if (name === 'flows' && this.site.codeOf(name) === root) await this.site.putBackFlows()
    const store = { broker: 'broker.db', recorder: 'telemetry.db', server: 'archive/index.db' }[name as string]
    if (store === undefined) return
    const path = join(this.site.directory, store)
    const schema = this.schemas.get(name)
    if (schema === undefined) {
      const database = openReadOnly(path)
      this.schemas.set(name, schemaVersion(database))
      database.close()
      return
    }
    const reader = name === 'recorder' && this.site.codeOf('flows')
    if (reader) await this.site.stop('flows')
    const { code, stderr } = await runCommand('fleet/store.ts', ['--schema', String(schema), path])
    assert.equal(code, 0, stderr)
    if (reader) await this.site.start('flows', reader)
  }

  /** Until every point has seen so many more windows. */
  private async work(windows: number): Promise<void> {
    const counts = () => [...this.witness.windows.values()].map(({ size }) => size)
    const wanted = counts().map(count => count + windows)
    assert.equal(wanted.length, 3)
    await this.until(`${windows} windows more`, () => counts().every((count, i) => count >= wanted[i]!))
  }

  /** Ends the devices first; then the recorder has to have everything. */
  private async end(): Promise<void> {
    for (const name of devices) {
      await this.site.stop(name)
      this.checkLearned(name)
    }
    const seen = () => [...this.witness.windows.values()].flatMap(ids => [...ids])
    await this.until('what was seen to be stored', () => {
      const stored = this.stored()
      return seen().every(id => stored.has(id))
    })
    const stored = this.stored()
    for (const device of devices) {
      const runs = this.witness.runs.get(device)!
      const counted = runs.reduce((sum, { counters }) => sum + counters.windows - counters.pending, 0)
      const found = [...stored.values()].filter(name => name === device).length
      const waiting = this.waitingOn(device)
      assert.ok(
        found + waiting >= counted,
        `${device} counted ${counted} windows, ${found} are stored, ${waiting} wait`,
      )
    }
    assert.deepEqual([...this.witness.refused, ...this.site.complaints()], [])
  }

  /** Windows whose inferences a device that has stopped still has to send. */
  private waitingOn(device: string): number {
    const database = openReadOnly(join(this.site.directory, device, 'agent.db'))
    const [row] = database.prepare("SELECT count(*) AS count FROM messages WHERE topic GLOB '*/inference'").all()
    database.close()
    return Number(row!.count)
  }

  /** Policy states and baselines of a device that has stopped: they only grow. */
  private checkLearned(device: 'pi-1' | 'pi-2'): void {
    const database = openReadOnly(join(this.site.directory, device, 'agent.db'))
    const states = database.prepare('SELECT state FROM policy_states').all()
    const baselines = database.prepare(
      "SELECT value ->> '$.since' AS since FROM settings WHERE name GLOB 'commissioning/*'",
    )
    const [baseline] = baselines.all()
    database.close()
    // The policy that learns is inside of those that count and audit.
    const rounds = states.reduce((sum, { state }) => sum + Number(/"rounds":(\d+)/.exec(String(state))![1]), 0)
    const { rounds: before, baseline: learned } = this.learned[device] ?? { rounds: 1, baseline: baseline?.since }
    assert.ok(rounds >= before, `${device} had learned from ${before} windows, now from ${rounds}`)
    assert.equal(baseline?.since, learned, `${device} learned again what is normal`)
    assert.equal(typeof learned, device === 'pi-2' ? 'string' : 'undefined')
    this.learned[device] = { rounds, baseline: learned }
  }

  /** Devices of windows, by identifier. */
  private stored(): Map<string, string> {
    const store = openReadOnly(join(this.site.directory, 'telemetry.db'))
    const rows = store.prepare(`SELECT fields ->> '$.id' AS id, tags ->> '$.device' AS device
      FROM points JOIN series ON series = series.id WHERE measurement = 'inference'`)
    const found = new Map(rows.all().map(({ id, device }) => [String(id), String(device)]))
    store.close()
    return found
  }

  private lastAlarm = (machine: string) => this.witness.alarms.get(machine)?.at(-1)

  private async until(what: string, holds: () => boolean): Promise<void> {
    const deadline = performance.now() + limitMs
    while (!holds()) {
      assert.ok(performance.now() < deadline, `${what}: not within ${limitMs} ms; ${this.site.complaints().slice(-3)}`)
      await delay(200)
    }
  }
}
