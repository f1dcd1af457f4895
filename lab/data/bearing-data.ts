import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { type Bearing, type Dataset, openDataset, type RecordingInfo } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { resample } from './resample.ts'

/** What sets one rig apart from the CWRU one. */
export interface RigOptions {
  /** Directory of the set, looked for in the one given; `cwru` when absent. */
  set?: string
  /** The bearing that order features look at; the CWRU rig's when absent. */
  bearing?: Bearing
  /** Grid that windows are put on, in the unit of the recordings; `COMMON_STEP` when absent. */
  step?: number
}

/** Ratios of rates above this have filters too long to be worth it: 44.1 kHz is not brought to 12 kHz. */
const LARGEST_UP = 12

/**
 * Drive-end recordings at one sampling rate. Each is read once and kept, because training draws from all of them
 * again and again (30 MB for the whole CWRU set).
 */
export class BearingData {
  readonly recordings: readonly RecordingInfo[]
  readonly rateHz: number
  readonly bearing: Bearing | undefined
  readonly step: number | undefined
  readonly #dataset: Dataset
  readonly #samples = new Map<string, Promise<Float32Array>>()

  constructor(dataset: Dataset, rateHz: number, { bearing, step }: RigOptions = {}) {
    this.#dataset = dataset
    this.rateHz = rateHz
    this.bearing = bearing
    this.step = step
    this.recordings = dataset.recordings
      .filter(recording => recording.rateHz >= rateHz && ratioOf(rateHz, recording.rateHz).up <= LARGEST_UP)
      .map(recording => ({
        ...recording,
        rateHz,
        samples: Math.ceil(recording.samples / (recording.rateHz / rateHz)),
      }))
  }

  /** Opens `directory` itself or the set's directory in it. Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`. */
  static async open(directory: string, rateHz: number, options: RigOptions = {}): Promise<BearingData> {
    const inside = join(directory, options.set ?? 'cwru')
    const found = await access(inside).then(
      () => inside,
      () => directory,
    )
    const data = new BearingData(await openDataset(found), rateHz, options)
    if (data.recordings.length === 0)
      throw new FaultlineError('RECORDING_INVALID', `${found} has no recording that can be brought to ${rateHz} Hz`)
    return data
  }

  /** What is known of one recording. Throws `RECORDING_UNREADABLE`. */
  info(id: string): RecordingInfo {
    const info = this.recordings.find(recording => recording.id === id)
    if (!info) throw new FaultlineError('RECORDING_UNREADABLE', `${this.#dataset.directory} has no recording "${id}"`)
    return info
  }

  /** The samples of one recording at the common rate. */
  read(id: string): Promise<Float32Array> {
    let samples = this.#samples.get(id)
    if (!samples) {
      samples = this.#load(id)
      this.#samples.set(id, samples)
    }
    return samples
  }

  async #load(id: string): Promise<Float32Array> {
    const original = this.#dataset.recordings.find(recording => recording.id === this.info(id).id)
    const { up, down } = ratioOf(this.rateHz, original?.rateHz ?? this.rateHz)
    const samples = await this.#dataset.read(id)
    return up === down ? samples : resample(samples, up, down)
  }
}

/** `wanted / given` in lowest terms. */
function ratioOf(wanted: number, given: number): { up: number; down: number } {
  let [a, b] = [wanted, given]
  while (b > 0) [a, b] = [b, a % b]
  return { up: wanted / a, down: given / a }
}
