import * as tf from '@tensorflow/tfjs'
import { EigenvalueDecomposition, Matrix } from 'ml-matrix'
import type { TrainingImages } from './training-images.ts'

/** Added to each variance, so that directions of almost none are not blown up. */
const LEAST_VARIANCE = 5e-4
const PATCH = 2

/**
 * Filters whose answers to 2 x 2 patches of colour images are uncorrelated and of unit variance: the scaled eigenvectors
 * of the patches' covariance and, since ReLU keeps one sign, their opposites. (2, 2, 3, 24).
 * @param images The first `count` of them are looked at.
 */
export function whiteningFilters(images: TrainingImages, count = 5_000): tf.Tensor4D {
  const { height, width, channels } = images
  const values = PATCH * PATCH * channels
  const covariance = Matrix.zeros(values, values)
  const patch = new Float64Array(values)
  const seen = Math.min(count, images.count)
  for (let image = 0; image < seen; image++)
    for (let y = 0; y + PATCH <= height; y++)
      for (let x = 0; x + PATCH <= width; x++) {
        for (let cell = 0; cell < values; cell++) {
          const [row, column] = [Math.floor(cell / (PATCH * channels)), Math.floor(cell / channels) % PATCH]
          patch[cell] = images.value(image, y + row, x + column, cell % channels)
        }
        for (let i = 0; i < values; i++)
          for (let j = 0; j <= i; j++) covariance.set(i, j, covariance.get(i, j) + patch[i]! * patch[j]!)
      }
  const patches = seen * (height - PATCH + 1) * (width - PATCH + 1)
  for (let i = 0; i < values; i++)
    for (let j = 0; j <= i; j++) {
      const mean = covariance.get(i, j) / patches
      covariance.set(i, j, mean)
      covariance.set(j, i, mean)
    }
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(covariance, { assumeSymmetric: true })
  const filters = new Float32Array(values * 2 * values)
  for (const [k, variance] of realEigenvalues.entries())
    for (let cell = 0; cell < values; cell++) {
      const weight = eigenvectorMatrix.get(cell, k) / Math.sqrt(variance + LEAST_VARIANCE)
      filters[cell * 2 * values + k] = weight
      filters[cell * 2 * values + values + k] = -weight
    }
  return tf.tensor4d(filters, [PATCH, PATCH, channels, 2 * values])
}
