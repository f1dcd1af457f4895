import type { BundleDescription } from '@faultline/inference'
import { type Command, InvalidArgumentError, parsePositive } from '@faultline/runtime'
import { readKey } from '../signing.ts'
import type { Declaration } from './declaration.ts'
import { importModel } from './import.ts'
import { declaredInput, type InputOptions, inputKinds, pixelScalings } from './input-options.ts'

interface Options extends InputOptions {
  name: string
  version: string
  task: string
  role: BundleDescription['role']
  classes: string[]
  normal?: string
  logits?: boolean
  calibrate?: string
  server?: string
  key?: string
  out: string
  force?: boolean
}

const examples = `
Examples:
  PyTorch: channels first, logits, ImageNet's mean and deviation
    npm run models -- import surface.onnx --name surface-local --task surface --role local \\
      --classes sound,rust,crack --normal sound --input image --normalise imagenet --logits --out my-models/surface-local

  Keras: channels last, pixels 0..255, probabilities, with a temperature from labelled images
    npm run models -- import keras.onnx --name surface-server --task surface --role server \\
      --classes sound,rust,crack --normal sound --input image --normalise none \\
      --calibrate held-out/ --out my-models/surface-server

  A network on 2,048 samples at 12 kHz, each window standardised
    npm run models -- import wdcnn.onnx --name bearing-cnn --task bearing-fault --role server \\
      --classes normal,ball,inner-race,outer-race --normal normal --input signal --samples 2048 --rate 12000 \\
      --representation raw --logits --out my-models/bearing-cnn
`

/** `models -- import`. */
export function addImportCommand(program: Command): void {
  program
    .command('import')
    .description('make a bundle of an ONNX or TF.js model of your own')
    .argument('<model>', 'an .onnx file, or the directory of a TF.js model.json (layers or graph model)')
    .requiredOption('--name <name>', "the model's name")
    .option('--version <version>', "the model's version", '1.0.0')
    .requiredOption('--task <task>', 'what is asked; local and server model of one task share their classes')
    .requiredOption('--role <role>', 'local (device agents) or server (server agents)', oneOf('local', 'server'))
    .requiredOption('--classes <names>', 'the classes in the order of its output, with commas', list)
    .option('--normal <class>', 'the class that means nothing is wrong')
    .requiredOption('--input <kind>', `what it looks at: ${inputKinds.join(', ')}`, oneOf(...inputKinds))
    .option('--logits', 'it gives logits; probabilities otherwise')
    .option('--layout <layout>', 'image: hwc or chw, where its shape leaves a doubt', oneOf('hwc', 'chw'))
    .option('--size <HxW>', 'image: height and width, where the model takes any', size)
    .option(
      '--normalise <how>',
      `image: ${Object.keys(pixelScalings).join(', ')}, or mean-std: pixels / 255, minus --mean, over --std`,
      oneOf(...Object.keys(pixelScalings), 'mean-std'),
    )
    .option('--mean <numbers>', 'taken off the input: one, or one for each channel or feature', numbers)
    .option('--std <numbers>', 'then the input is divided by it: one, or one for each channel or feature', numbers)
    .option('--samples <count>', 'signal, features: samples in a window', parsePositive)
    .option('--rate <hertz>', 'signal, features: sampling rate', parsePositive)
    .option('--representation <name>', 'signal: samples (as they are), raw (standardised), spectrum, …')
    .option('--features <names>', 'features: their names, with commas', list)
    .option('--calibrate <path>', 'labelled data it was not trained on: fits a temperature and measures reliability')
    .option('--server <bundle>', 'with --role local and --calibrate: the server model beside it, whose mistakes count')
    .option('--key <file>', 'signs the bundle with this private key')
    .requiredOption('--out <directory>', 'where the bundle goes')
    .option('--force', 'replaces what is in that directory')
    .addHelpText('after', examples)
    .action(async (model: string, options: Options) => {
      const { name, version, task, role, classes, normal, logits } = options
      const declaration: Declaration = {
        name,
        version,
        task,
        role,
        classes,
        normal,
        output: logits ? 'logits' : 'probabilities',
        input: declaredInput(options),
      }
      const key = options.key === undefined ? undefined : await readKey(options.key)
      const { out, force, calibrate, server } = options
      const { bundle, verification, notes } = await importModel({
        model,
        declaration,
        out,
        force,
        calibration: calibrate,
        server,
        key,
      })
      for (const note of notes) process.stderr.write(`note: ${note}\n`)
      const { calibration } = bundle.description
      if (calibration.reliability)
        process.stdout.write(
          `${out}: temperature ${calibration.temperature}, ${calibration.reliability.samples} labelled examples, ` +
            `${(100 * calibration.reliability.accuracy).toFixed(1)} % right\n`,
        )
      process.stdout.write(`${out}: golden outputs are right on ${verification.passed.join(', ')}\n`)
      process.stdout.write(`${out}: ${bundle.description.name} ${bundle.description.version}, ${bundle.digest}\n`)
    })
}

function oneOf<T extends string>(...names: readonly T[]): (text: string) => T {
  return text => {
    const found = names.find(name => name === text)
    if (found === undefined) throw new InvalidArgumentError(`Give one of ${names.join(', ')}.`)
    return found
  }
}

function list(text: string): string[] {
  const parts = text.split(',').map(part => part.trim())
  if (parts.includes('')) throw new InvalidArgumentError('Give names with commas between them.')
  return parts
}

function numbers(text: string): number[] {
  const values = text.split(',').map(part => (part.trim() === '' ? Number.NaN : Number(part)))
  if (!values.every(Number.isFinite)) throw new InvalidArgumentError('Give numbers with commas between them.')
  return values
}

function size(text: string): [number, number] {
  const found = /^([1-9]\d*)x([1-9]\d*)$/.exec(text)
  if (!found) throw new InvalidArgumentError('Give height and width as in 32x32.')
  return [Number(found[1]), Number(found[2])]
}
