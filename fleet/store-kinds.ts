import { brokerStore } from '@faultline/broker'
import { agentDatabase } from '@faultline/device-agent'
import { registryDatabase, rolloutDatabase } from '@faultline/provisioning'
import { archiveDatabase } from '@faultline/server-agent'
import { telemetryDatabase } from '@faultline/telemetry'

/** Every kind of store that a site has. Here, because only this folder knows the stores of all others. */
export const storeKinds = [
  agentDatabase,
  brokerStore,
  telemetryDatabase,
  registryDatabase,
  rolloutDatabase,
  archiveDatabase,
]
