import { createProgram, runProgram, version } from '@faultline/runtime'
import { addEnroll } from './commands/enroll.ts'
import { addList } from './commands/list.ts'
import { addRevoke } from './commands/revoke.ts'
import { addRotate } from './commands/rotate.ts'
import { addShow } from './commands/show.ts'

const program = createProgram('npm run provision --', "The fleet's identities: who may connect to the broker.").version(
  version,
)

for (const add of [addEnroll, addList, addShow, addRotate, addRevoke]) add(program)

await runProgram(program)
