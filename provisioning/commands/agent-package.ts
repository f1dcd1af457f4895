import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import type { Command } from '@faultline/runtime'
import { InvalidArgumentError } from '@faultline/runtime'
import { type AgentArchitecture, agentArchitectures, agentPackageName, writeAgentPackage } from '../agent-package.ts'
import { say } from './output.ts'

interface Flags {
  architecture: AgentArchitecture
  out?: string
}

export function addAgentPackage(program: Command): void {
  program
    .command('agent-package')
    .description('write a tar.gz with the device agent, its Node.js and its installer, for any device')
    .option('--architecture <name>', `${agentArchitectures.join(' or ')}: of the devices`, parseArchitecture, 'arm64')
    .option('--out <file>', 'must not be there yet (default: faultline-agent-VERSION-linux-ARCHITECTURE.tar.gz)')
    .action(packAgent)
}

async function packAgent({ architecture, out = `${agentPackageName(architecture)}.tar.gz` }: Flags): Promise<void> {
  await writeAgentPackage(out, architecture)
  const { size } = await stat(out)
  const digest = createHash('sha256')
  await pipeline(createReadStream(out), digest)
  say(`packed ${out} (${(size / 1e6).toFixed(1)} MB)\nsha256 ${digest.digest('hex')}`)
}

function parseArchitecture(text: string): AgentArchitecture {
  const known = agentArchitectures.find(name => name === text)
  if (!known) throw new InvalidArgumentError(`Give ${agentArchitectures.join(' or ')}.`)
  return known
}
