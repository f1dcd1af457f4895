/** What to give Node.js so that the wall clock of the process is off by so much; its monotonic clock is not. */
export function shiftedClock(offsetMs: number): readonly string[] {
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
  return ['--import', `data:text/javascript,${encodeURIComponent(source)}`]
}
