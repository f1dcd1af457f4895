import type { ImagePlan } from './trainer.ts'

/** Shared by both networks; as arXiv 2404.00498 has them, at half its batch. */
const common = { batch: 512, smoothing: 0.2, smallSize: 24 }

/** 2.0 million weights, 118 million multiplications an image, twice that with its mirrored half. */
export const serverPlan: ImagePlan = {
  network: { name: 'image-server', widths: [64, 256, 256] },
  ...common,
  cycles: [
    { epochs: 10, smallEpochs: 5, rate: 11.5 },
    { epochs: 8, smallEpochs: 0, rate: 6 },
  ],
  teacherShare: 0,
  mirrored: true,
}

/**
 * 154,000 weights, which half precision stores in 308 kB: ResNet-8 of MLPerf Tiny has 78,000 in 321 kB. It learns what
 * the server network answers beside the labels (Hinton et al., arXiv 1503.02531).
 */
export const localPlan: ImagePlan = {
  network: { name: 'image-local', widths: [28, 56, 80] },
  ...common,
  cycles: [{ epochs: 16, smallEpochs: 6, rate: 11.5 }],
  teacherShare: 0.5,
  mirrored: false,
}
