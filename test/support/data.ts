import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** The directory of unpacked data sets that FAULTLINE_DATA names. */
export const dataDirectory = process.env.FAULTLINE_DATA ?? ''

/** For a test's `skip`: false when the data set is there, otherwise a sentence that says how to give it. */
export function missingData(set: 'cwru' | 'uestc' | 'femto' | 'hit-mfs'): false | string {
  return dataDirectory && existsSync(join(dataDirectory, set, 'manifest.json'))
    ? false
    : `recordings of ${set} are not there (FAULTLINE_DATA names the directory that holds ${set}/)`
}

/** The same for the traces of predictions, `traces/cifar10.csv` and `traces/imdb.csv`. */
export function missingTraces(): false | string {
  const all = ['cifar10.csv', 'imdb.csv'].every(file => existsSync(join(dataDirectory, 'traces', file)))
  return dataDirectory && all ? false : 'traces are not there (FAULTLINE_DATA names the directory that holds traces/)'
}

/** The same for the binary batches of CIFAR-10, `cifar10/*.bin`. */
export function missingImages(): false | string {
  return dataDirectory && existsSync(join(dataDirectory, 'cifar10', 'test_batch.bin'))
    ? false
    : 'images are not there (FAULTLINE_DATA names the directory that holds cifar10/)'
}
