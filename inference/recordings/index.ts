export { openDataset } from './dataset.ts'
export { type BearingClass, bearingClasses, type Dataset, type RecordingInfo } from './recording.ts'
