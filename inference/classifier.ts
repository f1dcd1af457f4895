import type { Bundle } from './bundle/bundle.ts'
import type { InputDescription } from './bundle/description.ts'
import { verifyGolden } from './bundle/golden.ts'
import { type PreparedInput, prepare } from './bundle/input.ts'
import { loadBundle } from './bundle/loader.ts'
import { probabilitiesOf } from './bundle/output.ts'
import { type Classification, classificationOf } from './classification.ts'
import { chooseEngine, type EngineChoice } from './engines/choose.ts'
import { createEngine } from './engines/create.ts'
import type { EngineName, Network } from './engines/engine.ts'
import { type Bearing, skf6205 } from './signal/bearing.ts'
import { bearingFrom } from './signal/bearing-description.ts'
import type { Window } from './window.ts'

export interface ClassifierOptions {
  /** The engine to use, as `chooseEngine` found it; chosen by trial when absent. */
  engine?: EngineName
  /** The bearing that order features look at where a window names none; that of the bundle when absent. */
  bearing?: Bearing
  /** Public keys; when given, the bundle must be signed with one of them. */
  trusted?: readonly string[]
}

export interface Classified {
  classification: Classification
  /** The window's features, where the model works on features and they were computed anyway. */
  features?: Record<string, number>
}

/** A classifier with the story of how its engine was found. */
export interface LoadedClassifier {
  classifier: Classifier
  /** The engines tried before, and why each was passed over; none where the engine was named. */
  enginesRejected: EngineChoice['rejected']
}

/**
 * Loads a bundle as a configuration names it: with one engine, or with the first that works here.
 * Throws the coded errors of bundles and engines.
 */
export async function loadClassifier(
  directory: string,
  options: Omit<ClassifierOptions, 'engine'> & { engine?: EngineName | 'auto' } = {},
): Promise<LoadedClassifier> {
  const { engine = 'auto', ...others } = options
  const choice: EngineChoice =
    engine === 'auto' ? await chooseEngine(await loadBundle(directory, others)) : { engine, rejected: [] }
  const classifier = await Classifier.load(directory, { ...others, engine: choice.engine })
  return { classifier, enginesRejected: choice.rejected }
}

/** A bundle and its network: windows in, classifications out. */
export class Classifier {
  readonly bundle: Bundle
  readonly #network: Network
  /** The bearing its bundle or its caller named; none where both left it open. */
  readonly bearing: Bearing | undefined

  private constructor(bundle: Bundle, network: Network, bearing: Bearing | undefined) {
    this.bundle = bundle
    this.#network = network
    this.bearing = bearing
  }

  /**
   * Loads a bundle and checks its golden outputs in this process too.
   * Throws the coded errors of bundles and engines.
   */
  static async load(directory: string, options: ClassifierOptions = {}): Promise<Classifier> {
    const bundle = await loadBundle(directory, { trusted: options.trusted })
    const engine = options.engine ?? (await chooseEngine(bundle)).engine
    const network = await createEngine(engine).load(bundle)
    try {
      await verifyGolden(network, bundle)
    } catch (error) {
      await network.dispose()
      throw error
    }
    const { bearing } = bundle.description
    return new Classifier(bundle, network, options.bearing ?? (bearing && bearingFrom(bearing)))
  }

  get engine(): EngineName {
    return this.#network.engine
  }

  /** What identifies the model in messages. */
  get model(): { name: string; version: string; digest: string } {
    const { name, version } = this.bundle.description
    return { name, version, digest: this.bundle.digest }
  }

  get classes(): readonly string[] {
    return this.bundle.description.classes
  }

  get task(): string {
    return this.bundle.description.task
  }

  /** What a window has to be: samples and rate for a signal, shape for an image. */
  get input(): InputDescription {
    return this.bundle.description.input
  }

  /** Makes one window's input. Throws `WINDOW_INVALID`. Separate, so that a bad window spoils no batch. */
  prepare(window: Window): PreparedInput {
    return prepare(window, this.input, this.bearing ?? skf6205)
  }

  /** Classifies windows as one batch. Throws `WINDOW_INVALID` for the first window that does not fit. */
  async classify(windows: readonly Window[]): Promise<Classified[]> {
    return this.classifyPrepared(windows.map(window => this.prepare(window)))
  }

  /** Classifies prepared windows as one batch. An answer that is not valid is given back: policies judge it. */
  async classifyPrepared(inputs: readonly PreparedInput[]): Promise<Classified[]> {
    const first = inputs[0]
    if (!first) return []
    const batch = new Float32Array(inputs.length * first.values.length)
    for (const [i, { values }] of inputs.entries()) batch.set(values, i * first.values.length)
    const output = await this.#network.run(batch, inputs.length)
    const width = Math.floor(output.length / inputs.length)
    return inputs.map(({ features }, i) => {
      const row = output.subarray(i * width, (i + 1) * width)
      const classification = classificationOf(this.classes, probabilitiesOf(row, this.bundle.description))
      return features ? { classification, features } : { classification }
    })
  }

  /** Frees native memory, once the runs under way are done. Idempotent. */
  dispose(): Promise<void> {
    return this.#network.dispose()
  }
}
