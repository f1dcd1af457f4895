/** What `setTimeout` can wait for: 24.8 days. It takes anything longer for 1 ms. */
export const maxTimerMs = 2 ** 31 - 1
