import {
  createLogger,
  createProgram,
  loadConfig,
  Operations,
  runProgram,
  runService,
  type Service,
  ServiceGroup,
  version,
} from '@faultline/runtime'
import { Broker } from './broker.ts'
import { brokerConfig } from './config.ts'
import { BrokerMetrics } from './metrics.ts'
import { RegistryFile } from './registry-file.ts'

const program = createProgram('npm run broker --', 'An MQTT broker that knows the identities and rights of a fleet.')
  .version(version)
  .option(
    '--config <file>',
    'YAML: host, port, tls, registry, store, redis, bridge, limits, operations; all have defaults',
  )
  .allowExcessArguments(false)
  .action(run)

async function run(flags: { config?: string }): Promise<void> {
  const { registry: path, operations, ...config } = await loadConfig(brokerConfig, flags.config)
  const registry = new RegistryFile(path)
  const logger = createLogger('broker')
  const broker = new Broker({ ...config, registry, logger })
  const services: Service[] = [registry, broker]
  if (operations) {
    const registries = [new BrokerMetrics(broker).registry]
    // Before the broker and until after it, so that it can be seen to start and to stop.
    services.splice(1, 0, new Operations({ ...operations, registries, logger, notReady: () => broker.notReady() }))
  }
  await runService(new ServiceGroup(services), { logger })
}

await runProgram(program)
