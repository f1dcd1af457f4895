import { readFile, stat } from 'node:fs/promises'
import { toFaultlineError } from '@faultline/protocol'
import { type Command, InvalidArgumentError, version } from '@faultline/runtime'
import { type AgentArchitecture, agentArchitectures, agentPackageName, writeAgentPackage } from '../agent-package.ts'
import { digestOfFile, signPackage } from '../rollouts/artifact.ts'
import { say } from './output.ts'

interface Flags {
  architecture: AgentArchitecture
  out?: string
  key?: string
}

export function addAgentPackage(program: Command): void {
  program
    .command('agent-package')
    .description('write a tar.gz with the device agent, its Node.js and its installer, for any device')
    .option('--architecture <name>', `${agentArchitectures.join(' or ')}: of the devices`, parseArchitecture, 'arm64')
    .option('--out <file>', 'must not be there yet (default: faultline-agent-VERSION-linux-ARCHITECTURE.tar.gz)')
    .option(
      '--key <file>',
      'a key that `models -- key` made: signs the models in it, and the package itself (FILE.sig)',
    )
    .action(packAgent)
}

async function packAgent({
  architecture,
  out = `${agentPackageName(architecture)}.tar.gz`,
  key,
}: Flags): Promise<void> {
  const privateKey = key === undefined ? undefined : await readKey(key)
  await writeAgentPackage(out, architecture, privateKey)
  const { size } = await stat(out)
  const digest = (await digestOfFile(out)).replace('sha256:', '')
  say(`packed ${out} (${(size / 1e6).toFixed(1)} MB)\nsha256 ${digest}`)
  if (privateKey !== undefined) say(`signed ${await signPackage(out, { version, architecture }, privateKey)}`)
}

const readKey = (file: string): Promise<string> =>
  readFile(file, 'utf8').catch(cause => {
    throw toFaultlineError(cause, 'CONFIG_UNREADABLE')
  })

function parseArchitecture(text: string): AgentArchitecture {
  const known = agentArchitectures.find(name => name === text)
  if (!known) throw new InvalidArgumentError(`Give ${agentArchitectures.join(' or ')}.`)
  return known
}
