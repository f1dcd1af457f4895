import { type Command, createProgram, version } from '@faultline/runtime'
import { addAgentPackage } from './commands/agent-package.ts'
import { addAuthority } from './commands/authority.ts'
import { addEnroll } from './commands/enroll.ts'
import { addExport } from './commands/export.ts'
import { addImport } from './commands/import.ts'
import { addInit } from './commands/init.ts'
import { addList } from './commands/list.ts'
import { addLog } from './commands/log.ts'
import { addMosquitto } from './commands/mosquitto.ts'
import { addPackage } from './commands/package.ts'
import { addReEnroll } from './commands/re-enroll.ts'
import { addRevoke } from './commands/revoke.ts'
import { addRollout } from './commands/rollout.ts'
import { addRotate } from './commands/rotate.ts'
import { addServe } from './commands/serve.ts'
import { addServerCertificate } from './commands/server-certificate.ts'
import { addShow } from './commands/show.ts'

const commands = [
  addInit,
  addServerCertificate,
  addAuthority,
  addServe,
  addEnroll,
  addPackage,
  addAgentPackage,
  addList,
  addShow,
  addLog,
  addRotate,
  addReEnroll,
  addRevoke,
  addExport,
  addImport,
  addMosquitto,
  addRollout,
]

/** The command line of provisioning; each command is a file of its own. */
export function provisioningProgram(): Command {
  const program = createProgram('npm run provision --', "The fleet's identities: who may connect to the broker.")
  program.version(version)
  for (const add of commands) add(program)
  return program
}
