export { openDataset } from './dataset.ts'
export { type ImageExtents, type ImageSet, openImages } from './images.ts'
export { type BearingClass, bearingClasses, type Dataset, type RecordingInfo } from './recording.ts'
