import { isDeepStrictEqual } from 'node:util'
import { describeIssue, FaultlineError } from '@faultline/protocol'
import { ChangeableSource } from './changeable-source.ts'
import { type SourceConfig, sourceConfig } from './config.ts'
import { createSource, type Notice, type SourceInput } from './create.ts'
import type { Source } from './source.ts'

/** Sources by point, as an operator asks for them; not checked yet. */
export type DesiredSources = Readonly<Record<string, unknown>>

interface Place {
  ofFile: SourceConfig
  wanted: SourceConfig
  source: ChangeableSource
}

/** Where nobody may change them. */
export const fixedSources: Pick<PointSources, 'check' | 'use'> = {
  check(desired) {
    const [point] = Object.keys(desired)
    if (point !== undefined) throw new FaultlineError('CONFIG_INVALID', `sources.${point}: cannot be changed here`)
  },
  use() {},
}

/** The sources of a device's points: those of its file, or in their place those that an operator asks for. */
export class PointSources {
  private readonly input: SourceInput
  private readonly classes: readonly string[]
  private readonly places = new Map<string, Place>()

  private readonly notice: (point: string, assumption: string) => void

  /** @param notice Hears what is assumed of a point's source where its configuration does not say it. */
  constructor(
    input: SourceInput,
    classes: readonly string[],
    notice: (point: string, assumption: string) => void = () => {},
  ) {
    this.input = input
    this.classes = classes
    this.notice = notice
  }

  /** The source of a point as the file has it. Throws the errors of `createSource`. */
  async open(point: string, config: SourceConfig): Promise<Source> {
    const source = new ChangeableSource(await this.create(point, config))
    this.places.set(point, { ofFile: config, wanted: config, source })
    return source
  }

  /**
   * Throws `CONFIG_INVALID` for a point that is not there, a source that is none, and what only the file may say: which
   * program is run, and a password, as whoever may read the broker would read it.
   */
  check(desired: DesiredSources): void {
    for (const [point, config] of Object.entries(desired)) this.read(point, config)
  }

  /** Puts them in force: a point whose source changes begins with it, the others go on. Throws as `check` does, first. */
  use(desired: DesiredSources): void {
    const wanted = new Map(Object.entries(desired).map(([point, config]) => [point, this.read(point, config)]))
    for (const [point, place] of this.places) {
      const config = wanted.get(point) ?? place.ofFile
      if (isDeepStrictEqual(config, place.wanted)) continue
      place.wanted = config
      place.source.replace(() => this.create(point, config))
    }
  }

  private create(point: string, config: SourceConfig): Promise<Source> {
    const notice: Notice = assumption => this.notice(point, assumption)
    return createSource(config, this.input, this.classes, notice)
  }

  private read(point: string, config: unknown): SourceConfig {
    const refuse = (what: string) => new FaultlineError('CONFIG_INVALID', `sources.${point}: ${what}`)
    if (!this.places.has(point)) throw refuse('there is no such point')
    const parsed = sourceConfig.safeParse(config)
    if (!parsed.success) throw refuse(describeIssue(parsed.error, 'source'))
    const { data } = parsed
    if (data.kind === 'command') throw refuse('which program is run only the file of the device may say')
    if (data.kind === 'mqtt' && data.password !== undefined)
      throw refuse('a password belongs in the file of the device')
    return data
  }
}
