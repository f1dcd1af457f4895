import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { extractFeatures } from '@faultline/inference'
import { decodeWindow, toFaultlineError } from '@faultline/protocol'
import { Archive, type ArchiveOptions } from './archive.ts'
import type { OtherAnswer } from './catalogue.ts'
import type { HardWindow } from './hard-window.ts'
import type { ArchiveReply, ArchiveRequest, NewWindow } from './messages.ts'

/** Windows that are written at once. */
const batchWindows = 64
const sweepMs = 3_600_000

const port = parentPort!
const reply = (message: ArchiveReply) => port.postMessage(message)

// On Linux, and there alone, a thread has a priority of its own: the workers that answer come first.
if (process.platform === 'linux') setPriority(0, 10)
const archive = open(workerData)
if (archive) write(archive)

function open(options: ArchiveOptions): Archive | undefined {
  try {
    const opened = Archive.open(options)
    reply({ kind: 'open', counts: opened.counts() })
    return opened
  } catch (thrown) {
    const { code, message } = toFaultlineError(thrown)
    reply({ kind: 'not-open', code, message })
  }
}

/** Writes what comes, some at once, until it is told to close. */
function write(archive: Archive): void {
  const windows: NewWindow[] = []
  const answers: OtherAnswer[] = []
  let turn: NodeJS.Immediate | undefined

  const flush = () => {
    const batch = windows.splice(0, batchWindows)
    // After the windows that they are of.
    const others = windows.length === 0 ? answers.splice(0) : []
    const dealtWith = { windows: batch.length, answers: others.length }
    try {
      archive.sweep()
      const written = archive.add(batch.map(withFeatures))
      archive.addAnswers(others)
      reply({ kind: 'written', ...dealtWith, written, counts: archive.counts() })
    } catch (thrown) {
      const { code, message } = toFaultlineError(thrown, 'ARCHIVE_FAILED')
      reply({ kind: 'not-written', ...dealtWith, code, message })
    }
  }
  const schedule = () => {
    turn ??= setImmediate(() => {
      turn = undefined
      flush()
      if (windows.length > 0) schedule()
    })
  }
  // What is too old goes while nothing comes, too.
  const sweeping = setInterval(schedule, sweepMs)

  port.on('message', (request: ArchiveRequest) => {
    if (request.kind === 'window') windows.push(request.window)
    else if (request.kind === 'answer') answers.push(request.answer)
    else {
      clearImmediate(turn)
      clearInterval(sweeping)
      while (windows.length > 0 || answers.length > 0) flush()
      archive.close()
      port.close()
      return
    }
    schedule()
  })
}

function withFeatures(window: NewWindow): HardWindow {
  return { ...window, features: featuresOf(window) }
}

function featuresOf({ window, shaftHz, bearing }: NewWindow): Record<string, number> {
  if (!window || window.rateHz === 0) return {}
  try {
    const features = extractFeatures({
      ...decodeWindow(window),
      ...(shaftHz !== undefined && { shaftHz }),
      ...(bearing && { bearing }),
    })
    const finite = Object.entries(features).filter(([, value]) => Number.isFinite(value))
    return Object.fromEntries(finite.map(([name, value]) => [name, Number(value.toPrecision(6))]))
  } catch {
    return {} // A signal of several channels has none.
  }
}
