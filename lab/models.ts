import {
  type Bundle,
  createEngine,
  type EngineName,
  engineNames,
  inputShape,
  loadBundle,
  verifyGolden,
} from '@faultline/inference'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { createProgram, parseInteger, runProgram } from '@faultline/runtime'
import { trainBearings } from './training/bearings.ts'

// TensorFlow's native library uses deprecated parts of Node and says so on every run.
process.noDeprecation = true

const program = createProgram('models', 'Train, look into and verify model bundles')

program
  .command('train')
  .description('train a pair of models and write their bundles')
  .argument('<task>', 'what to train: bearings')
  .requiredOption('--data <directory>', 'CWRU recordings: manifest.json with .f32 files, or original .mat files')
  .option('--out <directory>', 'where the bundles go', 'models')
  .option('--seed <number>', 'the same seed gives the same models', parseInteger(0), 1)
  .action(async (task: string, options: { data: string; out: string; seed: number }) => {
    if (task !== 'bearings')
      throw new FaultlineError('CONFIG_INVALID', `there is nothing called "${task}" to train; there is "bearings"`)
    const { local, server } = await trainBearings(options)
    for (const bundle of [local, server]) {
      await verify(bundle)
      print(bundle)
    }
  })

program
  .command('inspect')
  .description('print what a bundle says about its model')
  .argument('<bundle>', 'directory of the bundle')
  .action(async (directory: string) => print(await loadBundle(directory)))

program
  .command('verify')
  .description('check digests, and golden outputs on every engine that runs here')
  .argument('<bundle>', 'directory of the bundle')
  .action(async (directory: string) => verify(await loadBundle(directory)))

await runProgram(program)

/** Runs the golden inputs on every engine; one that is not installed is reported, one that disagrees is an error. */
async function verify(bundle: Bundle): Promise<void> {
  const passed: EngineName[] = []
  for (const name of engineNames) {
    const engine = createEngine(name)
    if (!engine.supports(bundle)) continue
    try {
      const network = await engine.load(bundle)
      await verifyGolden(network, bundle)
      await network.dispose()
      passed.push(name)
    } catch (thrown) {
      const error = toFaultlineError(thrown)
      if (error.code !== 'ENGINE_UNAVAILABLE') throw error
      process.stderr.write(`${bundle.directory}: ${name} is not available here\n`)
    }
  }
  if (passed.length === 0) throw new FaultlineError('ENGINE_UNAVAILABLE', `no engine here runs ${bundle.directory}`)
  process.stdout.write(`${bundle.directory}: digests and golden outputs are right on ${passed.join(', ')}\n`)
}

function print({ description, digest }: Bundle): void {
  const { formats, input, calibration, training } = description
  const kilobytes = (bytes: number) => `${(bytes / 1000).toFixed(1)} kB`
  const tfjs = formats.tfjs && [formats.tfjs.model, ...formats.tfjs.weights].reduce((sum, file) => sum + file.bytes, 0)
  const lines: [string, string][] = [
    ['model', `${description.name} ${description.version} (${description.role}, ${description.task})`],
    ['digest', digest],
    ['classes', description.classes.join(', ')],
    ['input', `${input.kind} [${inputShape(input).join(', ')}]`],
    ['onnx', formats.onnx ? kilobytes(formats.onnx.bytes) : 'no'],
    ['tfjs', tfjs ? kilobytes(tfjs) : 'no'],
    ['temperature', String(calibration.temperature)],
    ['threshold', String(calibration.threshold ?? 'none')],
    ['trained', `${training.at}, seed ${training.seed}, on ${training.data.join(' and ')}`],
    ['note', training.note],
    ['metrics', JSON.stringify(training.metrics, null, 2)],
  ]
  for (const [label, text] of lines) process.stdout.write(`${label.padEnd(12)} ${text}\n`)
}
