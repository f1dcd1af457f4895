import { type AddressInfo, createServer } from 'node:net'
import { Classifier, type EngineName } from '@faultline/inference'
import { decodeWindow, encodeWindow } from '@faultline/protocol'
import { FrameReader } from './frames.ts'
import { windowFor } from './windows.ts'

/** `tcp-program.ts DIRECTORY ENGINE`: a server that takes one window after the other, as research code does. */
const [directory = '', engine] = process.argv.slice(2)
const classifier = await Classifier.load(directory, { engine: engine as EngineName })
const window = windowFor(classifier.bundle)
const form = encodeWindow(window)

let turn: Promise<unknown> = Promise.resolve()
const server = createServer(socket => {
  socket.setNoDelay(true)
  socket.on('error', () => {})
  const frames = new FrameReader(bytes => {
    turn = turn.then(async () => {
      const startedAt = performance.now()
      const [answer] = await classifier.classify([
        { ...window, ...decodeWindow({ ...form, bytes: new Uint8Array(bytes) }) },
      ])
      const { label, confidence } = answer!.classification
      socket.write(`${JSON.stringify({ label, confidence, inferMs: performance.now() - startedAt })}\n`)
    })
  })
  socket.on('data', chunk => frames.push(chunk))
})
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
process.once('disconnect', () => process.exit(0))
