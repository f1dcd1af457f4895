import { type Bundle, inputShape, loadBundle, readSignature } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { createProgram, parseInteger, runProgram } from '@faultline/runtime'
import { addArchiveCommands } from './archive/commands.ts'
import { addImportCommand } from './import/command.ts'
import { addCalibrateCommand } from './recalibrate.ts'
import { addSigningCommands, readTrusted } from './signing.ts'
import { trainBearings } from './training/bearings.ts'
import { trainImages } from './training/images/images.ts'
import { verifyOnEngines } from './verify.ts'

// TensorFlow's native library uses deprecated parts of Node and says so on every run.
process.noDeprecation = true

const trainers: Record<string, typeof trainImages> = { bearings: trainBearings, images: trainImages }

const program = createProgram('npm run models --', 'Train, look into and verify model bundles')

program
  .command('train')
  .description('train a pair of models and write their bundles')
  .argument('<task>', 'what to train: bearings or images')
  .requiredOption(
    '--data <directory>',
    "CWRU recordings (manifest.json with .f32 files, or original .mat files), or CIFAR-10's binary batches",
  )
  .option('--out <directory>', 'where the bundles go', 'models')
  .option(
    '--work <directory>',
    'where a run of images keeps its checkpoints, to go on when it was stopped',
    '.faultline/training',
  )
  .option('--seed <number>', 'the same seed gives the same models', parseInteger(0), 1)
  .option('--hard <dataset>', 'bearings: hard windows besides, as `dataset` exported them')
  .action(async (task: string, options: { data: string; out: string; work: string; seed: number; hard?: string }) => {
    const train = Object.hasOwn(trainers, task) ? trainers[task] : undefined
    if (!train)
      throw new FaultlineError(
        'CONFIG_INVALID',
        `there is nothing called "${task}" to train; there are bearings and images`,
      )
    const { local, server } = await train(options)
    for (const bundle of [local, server]) {
      await verify(bundle)
      print(bundle)
    }
  })

program
  .command('inspect')
  .description('print what a bundle says about its model')
  .argument('<bundle>', 'directory of the bundle')
  .action(async (directory: string) => {
    const bundle = await loadBundle(directory)
    print(bundle)
    process.stdout.write(`${'signature'.padEnd(12)} ${await signatureOf(bundle)}\n`)
  })

program
  .command('verify')
  .description('check digests, signature, and golden outputs on every engine that runs here')
  .argument('<bundle>', 'directory of the bundle')
  .option('--trust <key...>', 'public keys, or files that hold one: the bundle must be signed with one of them')
  .action(async (directory: string, { trust }: { trust?: string[] }) => {
    const bundle = await loadBundle(directory, { trusted: trust && (await readTrusted(trust)) })
    await verify(bundle)
    process.stdout.write(`${directory}: signature ${await signatureOf(bundle)}${trust ? ', which is trusted' : ''}\n`)
  })

addImportCommand(program)
addCalibrateCommand(program)
addSigningCommands(program)
addArchiveCommands(program)

await runProgram(program)

async function verify(bundle: Bundle): Promise<void> {
  const { passed, absent } = await verifyOnEngines(bundle)
  for (const name of absent) process.stderr.write(`${bundle.directory}: ${name} is not available here\n`)
  process.stdout.write(`${bundle.directory}: digests and golden outputs are right on ${passed.join(', ')}\n`)
}

async function signatureOf(bundle: Bundle): Promise<string> {
  const signature = await readSignature(bundle)
  return signature ? `by key ${signature.keyId}` : 'none'
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
    ['reliability', reliabilityOf(calibration)],
    ['correctness', calibration.correctness ? `fitted on ${calibration.correctness.samples} answers` : 'none'],
    ['server', trustOf(calibration)],
    ['trained', trainedOn(training)],
    ['note', training.note],
    ['metrics', JSON.stringify(training.metrics, null, 2)],
  ]
  for (const [label, text] of lines) process.stdout.write(`${label.padEnd(12)} ${text}\n`)
}

function trainedOn({ at, seed, data }: Bundle['description']['training']): string {
  return data.length > 0 ? `${at}, seed ${seed}, on ${data.join(' and ')}` : `not here; brought in ${at}`
}

function trustOf({ server }: Bundle['description']['calibration']): string {
  if (!server) return 'taken to be always right'
  return `believed as ${server.contradictions} contradictions in ${server.agreement.samples} answers suggest, of ${server.model ?? 'an unnamed model'}`
}

function reliabilityOf({ reliability }: Bundle['description']['calibration']): string {
  if (!reliability) return 'not measured'
  const percent = (value: number) => `${(100 * value).toFixed(1)} %`
  return `off by ${percent(reliability.calibrationError)} on ${reliability.samples} examples, ${percent(reliability.accuracy)} right`
}
