/** Set for CI: tests whose worth grows with their length take their full length. */
export const thorough: boolean = process.env.TEST_THOROUGH === '1'

/** How many of something a long test takes: all of them in CI, a share where somebody waits for it. */
export const rounds = (full: number, share = 0.1): number => (thorough ? full : full * share)
