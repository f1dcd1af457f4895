import {
  type Command,
  createProgram,
  parseBrokerUrl,
  parseInteger,
  parsePositive,
  parseSeconds,
  version,
} from '@faultline/runtime'
import { defaultOptions, type FleetOptions } from './options.ts'

export type Flags = Omit<FleetOptions, 'ports'> & { port: number; wsPort: number; httpPort: number }

const port = parseInteger(0, 65_535)

/** The options of `npm start`, without what it does. */
export function fleetProgram(): Command {
  return createProgram(
    'npm start --',
    'Runs a whole fleet on this machine: broker, agents, recorder, Node-RED and machines.',
  )
    .version(version)
    .option(
      '--devices <n>',
      'machines, each with a device agent beside it',
      parseInteger(1, 200),
      defaultOptions.devices,
    )
    .option('--duration <seconds>', 'end by itself after so long', parseSeconds)
    .option(
      '--source <simulated|dir>',
      'simulated machines, or a directory of recordings to replay',
      defaultOptions.source,
    )
    .option('--speed <factor>', 'windows per second relative to real time', parsePositive, defaultOptions.speed)
    .option('--policy <name>', 'how the agents decide what to escalate', defaultOptions.policy)
    .option('--summary <file>', 'write the final counters as JSON')
    .option('--influx <url>', 'store telemetry in InfluxDB rather than in the embedded database')
    .option(
      '--broker <url>',
      'use a broker that is there already and lets everybody in, such as a Mosquitto',
      parseBrokerUrl,
    )
    .option('--directory <dir>', 'identities, databases and logs', defaultOptions.directory)
    .option('--port <port>', 'MQTT over TCP; 0 takes any free port', port, defaultOptions.ports.mqtt)
    .option('--ws-port <port>', 'MQTT over WebSocket', port, defaultOptions.ports.webSocket)
    .option('--http-port <port>', 'dashboard and Node-RED editor', port, defaultOptions.ports.http)
    .option('--seed <n>', 'seed of the simulated machines and the audits', parseInteger(0), defaultOptions.seed)
    .option('--no-flows', 'leave Node-RED out: no dashboard and no alarms')
    .allowExcessArguments(false)
}
