import { FaultlineError } from '@faultline/protocol'
import { checkOutput, createProgram, parseInteger, runProgram, writeJson, writeText } from '@faultline/runtime'
import { addHardCommand } from './archive/evaluate.ts'
import { evaluateEverySplit } from './evaluation/evaluation.ts'
import { addImagesCommand } from './evaluation/images/command.ts'
import { addReplayCommand } from './replay/command.ts'
import { htmlReport } from './report/html.ts'
import { terminalReport } from './report/terminal.ts'
import { addTraceCommand } from './trace/command.ts'

// TensorFlow's native library uses deprecated parts of Node and says so on every run.
process.noDeprecation = true

interface Options {
  data: string
  models: string
  json?: string
  html?: string
  quick?: boolean
  seed: number
}

const program = createProgram('npm run evaluate --', 'Measure models and policies on data they never saw')

program
  .command('bearings')
  .description('bearing models, on recordings they did not learn from')
  .requiredOption('--data <directory>', 'directory with cwru/, and uestc/ for speeds, other rigs and commissioning')
  .option('--models <directory>', 'where the bundles are', 'models')
  .option('--json <file>', 'write every figure there too')
  .option('--html <file>', 'write a report with plots there, one file')
  .option('--quick', 'only what needs no training')
  .option('--seed <number>', 'the same seed gives the same figures', parseInteger(0), 1)
  .action(async ({ json, html, ...options }: Options) => {
    // The work takes minutes: a path that cannot be written is better known before.
    await checkOutput(json)
    await checkOutput(html)
    const evaluation = await evaluateEverySplit(options)
    process.stdout.write(terminalReport(evaluation))
    await writeJson(json, evaluation)
    await writeText(html, () => htmlReport(evaluation))
  })

addImagesCommand(program)
addTraceCommand(program)
addReplayCommand(program)
addHardCommand(program)

program
  .argument('[task]')
  .allowUnknownOption()
  .allowExcessArguments()
  .action((task = '') => {
    const tasks = '"bearings", "images", "trace", "replay" and "hard"'
    throw new FaultlineError('CONFIG_INVALID', `there is nothing called "${task}" to evaluate; there are ${tasks}`)
  })

await runProgram(program)
