import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { type Dataset, openDataset, type RecordingInfo } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { decimate } from './decimate.ts'

/**
 * Drive-end recordings at one sampling rate. Each is read once and kept, because training draws from all of them
 * again and again (30 MB for the whole CWRU set).
 */
export class BearingData {
  readonly recordings: readonly RecordingInfo[]
  readonly rateHz: number
  readonly #dataset: Dataset
  readonly #samples = new Map<string, Promise<Float32Array>>()

  constructor(dataset: Dataset, rateHz: number) {
    this.#dataset = dataset
    this.rateHz = rateHz
    this.recordings = dataset.recordings
      .filter(recording => Number.isInteger(recording.rateHz / rateHz))
      .map(recording => ({
        ...recording,
        rateHz,
        samples: Math.ceil(recording.samples / (recording.rateHz / rateHz)),
      }))
  }

  /** Opens `directory` itself or the `cwru` directory in it. Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`. */
  static async open(directory: string, rateHz: number): Promise<BearingData> {
    const inside = join(directory, 'cwru')
    const found = await access(inside).then(
      () => inside,
      () => directory,
    )
    const data = new BearingData(await openDataset(found), rateHz)
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
    const factor = (original?.rateHz ?? this.rateHz) / this.rateHz
    const samples = await this.#dataset.read(id)
    return factor === 1 ? samples : decimate(samples, factor)
  }
}
