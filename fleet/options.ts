/** What `npm start` is told. Ports may be 0: any free one. */
export interface FleetOptions {
  devices: number
  /** Seconds until the fleet ends by itself; until Ctrl-C when absent. */
  duration?: number
  /** `simulated`, or a directory of recordings. */
  source: string
  /** Windows per second relative to real time. */
  speed: number
  /** Where the final counters are written as JSON. */
  summary?: string
  /** InfluxDB's address; the embedded SQLite store when absent. */
  influx?: string
  /** Address of a broker that is there already and lets everybody in; one of the fleet's own when absent. */
  broker?: string
  /** Holds identities, databases, logs and the Node-RED user directory. */
  directory: string
  ports: { mqtt: number; webSocket: number; http: number }
  policy: string
  seed: number
  /** False leaves Node-RED out: no alarms, no dashboard. */
  flows: boolean
}

export const defaultOptions: FleetOptions = {
  devices: 6,
  source: 'simulated',
  speed: 1,
  directory: '.faultline',
  ports: { mqtt: 1883, webSocket: 9001, http: 1880 },
  policy: 'default',
  seed: 1,
  flows: true,
}
