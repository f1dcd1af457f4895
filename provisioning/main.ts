import { runProgram } from '@faultline/runtime'
import { provisioningProgram } from './program.ts'

await runProgram(provisioningProgram())
