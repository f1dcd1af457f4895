import { createProgram, runProgram, version } from '@faultline/runtime'
import { addBackup } from './commands/backup.ts'
import { addConfig } from './commands/config.ts'
import { addData } from './commands/data.ts'

const program = createProgram(
  'npm run faultline --',
  'What concerns a site as a whole: backups, its configuration files, and its recordings.',
).version(version)
addBackup(program)
addConfig(program)
addData(program)

await runProgram(program)
