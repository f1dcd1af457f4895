import type { ImagePlan } from './trainer.ts'

/** Shared by both networks; as arXiv 2404.00498 has them, at half its batch. */
const common = { batch: 512, rate: 11.5, smoothing: 0.2, smallSize: 24 }

/** 2.0 million weights, 118 million multiplications an image, twice that with its mirrored half. */
export const serverPlan: ImagePlan = {
  network: { name: 'image-server', widths: [64, 256, 256] },
  epochs: 10,
  ...common,
  smallEpochs: 5,
  teacherShare: 0,
  mirrored: true,
}

/**
 * 154,000 weights, which half precision stores in 308 kB: ResNet-8 of MLPerf Tiny has 78,000 in 321 kB. It learns what
 * the server network answers beside the labels (Hinton et al., arXiv 1503.02531).
 */
export const localPlan: ImagePlan = {
  network: { name: 'image-local', widths: [28, 56, 80] },
  epochs: 16,
  ...common,
  smallEpochs: 6,
  teacherShare: 0.5,
  mirrored: false,
}
