import {
  createLogger,
  createProgram,
  loadConfig,
  runProgram,
  runService,
  ServiceGroup,
  version,
} from '@faultline/runtime'
import { Broker } from './broker.ts'
import { brokerConfig } from './config.ts'
import { RegistryFile } from './registry-file.ts'

const program = createProgram('npm run broker --', 'An MQTT broker that knows the identities and rights of a fleet.')
  .version(version)
  .option('--config <file>', 'YAML: host, port, webSocketPort, registry, limits; all have defaults')
  .allowExcessArguments(false)
  .action(run)

async function run(flags: { config?: string }): Promise<void> {
  const { registry: path, ...config } = await loadConfig(brokerConfig, flags.config)
  const registry = new RegistryFile(path)
  const broker = new Broker({ ...config, registry, logger: createLogger('broker') })
  await runService(new ServiceGroup([registry, broker]))
}

await runProgram(program)
