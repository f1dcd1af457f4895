import { createProgram, runProgram, version } from '@faultline/runtime'
import { addBackup } from './commands/backup.ts'
import { addConfig } from './commands/config.ts'

const program = createProgram(
  'npm run faultline --',
  'What concerns a site as a whole: backups, and its configuration files.',
).version(version)
addBackup(program)
addConfig(program)

await runProgram(program)
