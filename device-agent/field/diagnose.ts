import { arch, release } from 'node:os'
import { type Command, version } from '@faultline/runtime'
import { findings } from './checks.ts'
import { configFile, statusUrl } from './installation.ts'

const marks = { ok: 'ok   ', warning: 'WARN ', fault: 'FAULT' }

export function addDiagnose(program: Command): void {
  program
    .command('diagnose')
    .description('check service, configuration, broker, certificate, clock, disk, heat and power; run it with sudo')
    .option('--config <file>', 'configuration of the agent', configFile)
    .option('--url <url>', 'its status page', statusUrl)
    .action(async ({ config, url }: { config: string; url: string }) => {
      const found = await findings(config, url)
      const lines = found.map(({ check, verdict, what, remedy }) => {
        const advice = remedy === undefined ? '' : `\n${' '.repeat(21)}→ ${remedy}`
        return `${marks[verdict]} ${check.padEnd(14)} ${what}${advice}`
      })
      process.stdout.write(`agent ${version}, Node.js ${process.version}, ${arch()}, Linux ${release()}\n`)
      process.stdout.write(`${lines.join('\n')}\n`)
      if (found.some(({ verdict }) => verdict === 'fault')) process.exitCode = 1
    })
}
