import { createProgram, runProgram, version } from '@faultline/runtime'
import { addDiagnose } from './diagnose.ts'
import { addLogs } from './logs.ts'
import { addStatus } from './status.ts'

/** `faultline-device`: for a person on the device itself. */
const program = createProgram('faultline-device', 'How the device agent of this machine is doing.').version(version)
for (const add of [addStatus, addLogs, addDiagnose]) add(program)
await runProgram(program)
