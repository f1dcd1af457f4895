import { loadClassifier } from '@faultline/inference'
import { simulatedWindows } from './device-windows.ts'

// MODEL WINDOWS: classifies so many and prints the resident memory of the process in bytes.
const [model, count] = process.argv.slice(2)
const { classifier } = await loadClassifier(model!, { engine: 'onnx' })
const windows = simulatedWindows(20, 'normal', 7)
for (let i = 0; i < Number(count); i++) await classifier.classify([windows[i % windows.length]!])
process.stdout.write(String(process.memoryUsage.rss()))
