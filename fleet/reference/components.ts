import { brokerConfig } from '@faultline/broker'
import { deviceAgentConfig } from '@faultline/device-agent'
import { flowsConfig } from '@faultline/flows'
import type { jsonSchemaOf } from '@faultline/protocol'
import { serverAgentConfig } from '@faultline/server-agent'
import { recorderConfig } from '@faultline/telemetry'

export interface Component {
  title: string
  /** The npm script that runs it. */
  script: string
  what: string
  schema: Parameters<typeof jsonSchemaOf>[0]
  /** A small file that is enough, in YAML. */
  example: string
}

/** Every program that starts from a file. */
export const components: readonly Component[] = [
  {
    title: 'Device agent',
    script: 'device-agent',
    what:
      'Runs beside the machines. `npm run provision -- enroll` writes a file to begin with. What may stand in `policy`: ' +
      '[policies](policies.md).',
    schema: deviceAgentConfig,
    example: `
version: 1
site: plant-a
device: press-3
broker:
  url: mqtt://broker.local:1883
  secret: what enrolment gave
dataDirectory: /var/lib/faultline
model: models/bearing-local
policy:
  name: relevance
  parameters: { confidence: 0.9 }
reporting: exception
points:
  - point: motor-de
    machine: press-3-motor
    machineType: motor-15kw
    source: { kind: simulated, fault: outer-race, faultAfterS: 60, growthS: 300 }
  - point: fan-de
    machine: press-3-fan
    source: { kind: replay, directory: recordings, recording: 12k-DE_105_DE }
`,
  },
  {
    title: 'Server agent',
    script: 'server-agent',
    what:
      'Answers escalations. Several share the work: start each with an identity of its own. ' +
      '`npm run provision -- enroll --role server` writes a file to begin with.',
    schema: serverAgentConfig,
    example: `
version: 1
server: gpu-1
broker:
  url: mqtt://broker.local:1883
  secret: what enrolment gave
models:
  - models/bearing-server
maxBatch: 64
`,
  },
  {
    title: 'Broker',
    script: 'broker',
    what: 'Carries every message and knows who may do what. Every entry has a default.',
    schema: brokerConfig,
    example: `
version: 1
host: 0.0.0.0
port: 1883
webSocketPort: 9001
registry: /var/lib/faultline/registry.db
limits:
  drainTimeoutMs: 60000
`,
  },
  {
    title: 'Recorder',
    script: 'recorder',
    what: 'Writes what the fleet says into a store: [telemetry](telemetry.md).',
    schema: recorderConfig,
    example: `
version: 1
broker:
  url: mqtt://broker.local:1883
  identity: recorders/main
  secret: what enrolment gave
store:
  kind: influx
  url: http://127.0.0.1:8086
`,
  },
  {
    title: 'Flows',
    script: 'flows',
    what: 'Node-RED with the alarms and the dashboard.',
    schema: flowsConfig,
    example: `
version: 1
userDirectory: /var/lib/faultline/node-red
port: 1880
broker:
  url: mqtt://broker.local:1883
  identity: flows/main
  secret: what enrolment gave
`,
  },
]
