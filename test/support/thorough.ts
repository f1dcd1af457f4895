/** Set for CI: tests whose worth grows with their length take their full length. */
const thorough = process.env.TEST_THOROUGH === '1'

/** How many of something a long test takes: all of them in CI, a tenth where somebody waits for it. */
export const rounds = (full: number): number => (thorough ? full : full / 10)
