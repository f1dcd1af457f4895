/** The environment of a Node.js whose wall clock is off by so much; its monotonic clock is not. */
export function shiftedClock(offsetMs: number): NodeJS.ProcessEnv {
  const source = `
    const Right = Date
    globalThis.Date = class Date extends Right {
      constructor(...given) {
        super(...(given.length > 0 ? given : [Date.now()]))
      }
      static now() {
        return Right.now() + ${offsetMs}
      }
    }`
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(source)}` }
}
