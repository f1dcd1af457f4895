/** Intercept and weights of the two largest scores, accept where `intercept + first p1 + second p2 >= 0`. */
export interface LogisticCoefficients {
  intercept: number
  first: number
  second: number
}

const published = (intercept: number, first: number, second: number): LogisticCoefficients => ({
  intercept,
  first,
  second,
})

/** Coefficients for scores q = 256 p - 128, as an int8 softmax gives them, put in terms of p. */
const onInt8Scores = (intercept: number, first: number, second: number): LogisticCoefficients => ({
  intercept: intercept - 128 * (first + second),
  first: 256 * first,
  second: 256 * second,
})

/** The coefficients published with arXiv 2407.11061 (DIME), by network, data set and precision. */
export const logisticPresets = {
  'resnet8-cifar10': published(-4.531622904, 5.82555453, -3.59687685),
  'resnet8-cifar10-int8': published(-4.63391351, 5.93658349, -3.04197074),
  'resnet56-cifar10': published(-5.099092033, 5.60475641, -4.37203237),
  'resnet56-cifar10-int8': published(-4.695974, 5.21640018, -3.70736749),
  'alexnet-cifar10': published(-3.796948174, 4.84755215, -1.79537036),
  'alexnet-cifar10-int8': published(-4.33089237, 5.39107836, -1.03445988),
  'resnet18-imagenet-int8': published(-3.02860354, 4.95192416, -1.7800178),
  'resnet50-imagenet-int8': published(-3.45594814, 5.11103057, -2.07690727),
  'alexnet-imagenet-int8': published(-2.61127983, 5.00778702, -1.23894854),
  'resnet8-firmware-int8': onInt8Scores(-3.42381517, 0.03105428, -0.00686018),
  'mnist-firmware': published(-1.9996633, 2.10135718, -1.8588692),
} as const satisfies Record<string, LogisticCoefficients>

export type LogisticPreset = keyof typeof logisticPresets
export const logisticPresetNames = Object.keys(logisticPresets) as LogisticPreset[]
