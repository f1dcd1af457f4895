import { hostname } from 'node:os'
import {
  type Command,
  createLogger,
  Operations,
  parseInteger,
  runService,
  type Service,
  ServiceGroup,
} from '@faultline/runtime'
import { loadAuthority } from '../authority.ts'
import { EstService } from '../est-service.ts'
import { ProvisioningMetrics } from '../metrics.ts'
import { RolloutService } from '../rollouts/rollout-service.ts'
import { type BrokerFlags, brokerAccessOf, withBroker } from './broker-options.ts'
import { withOpen, withRegistry } from './registry-option.ts'

interface Flags extends BrokerFlags {
  registry: string
  host?: string
  port: number
  name?: string[]
  days: number
  operationsPort?: number
}

export function addServe(program: Command): void {
  const port = parseInteger(0, 65_535)
  withBroker(withRegistry(program.command('serve')))
    .description(
      'run the service over HTTPS that devices fetch and renew their certificates from and, with --identity, the rollouts',
    )
    .option('--host <address>', 'address to listen on (default: all of the machine)')
    .option('--port <port>', '0 takes any free port', port, 8443)
    .option(
      '--name <names...>',
      'host names and addresses that devices reach it under (default: those of this machine)',
    )
    .option('--days <days>', 'how long the certificates it issues are good', parseInteger(1, 3_650), 90)
    .option('--operations-port <port>', '/metrics, /healthz and /readyz on loopback', port)
    .action(serve)
}

async function serve(flags: Flags): Promise<void> {
  const { registry: path, host, port, name, days, operationsPort } = flags
  const access = flags.identity === undefined ? undefined : await brokerAccessOf(flags)
  const authority = () => loadAuthority(path)
  await authority() // Before anything else: without one there is nothing to serve.
  await withOpen(path, async registry => {
    const logger = createLogger('provisioning')
    const names = name ?? [hostname(), 'localhost', '127.0.0.1', '::1']
    const service = new EstService({ registry, authority, host, port, names, certificateDays: days, logger })
    const services: Service[] = [service]
    if (operationsPort !== undefined) {
      const registries = [new ProvisioningMetrics(registry, service).registry]
      services.unshift(new Operations({ port: operationsPort, registries, logger }))
    }
    if (access) {
      const rollouts = new RolloutService({ registry, path, ...access, logger })
      // The session has logged it, and goes on trying.
      rollouts.on('error', () => {})
      services.push(rollouts)
    } else logger.info('rollouts are not run: that takes --identity and --broker-url')
    await runService(new ServiceGroup(services), { logger })
  })
}
