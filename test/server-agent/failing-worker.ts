import type { WorkerRequest } from '../../server-agent/worker-messages.ts'

/** The worker's program, with a native library that does not bear some windows. */
export const crashes = 1_111
export const hangs = 2_222

process.on('message', (request: WorkerRequest) => {
  if (request.kind !== 'classify') return
  const rates = request.jobs.map(({ shaftHz }) => shaftHz)
  if (rates.includes(crashes)) process.kill(process.pid, 'SIGSEGV')
  if (rates.includes(hangs)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
})

if (process.send) await import('../../server-agent/worker-program.ts')
