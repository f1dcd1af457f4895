import { createProgram, runProgram, version } from '@faultline/runtime'
import { addConfig } from './commands/config.ts'

const program = createProgram(
  'npm run faultline --',
  'What concerns one site as a whole: its configuration files.',
).version(version)
addConfig(program)

await runProgram(program)
