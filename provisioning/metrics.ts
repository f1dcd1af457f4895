import { metrics } from '@faultline/runtime'
import type { EstService } from './est-service.ts'
import type { Registry } from './registry.ts'

/** What the provisioning service counts, and when certificates end, for Prometheus. */
export class ProvisioningMetrics {
  readonly registry = new metrics.Registry()

  constructor(registry: Registry, service: EstService) {
    const registers = [this.registry]
    new metrics.Counter({
      name: 'faultline_provisioning_requests_total',
      help: 'Requests for certificates, by what became of them',
      labelNames: ['outcome'],
      registers,
      collect() {
        this.reset()
        for (const [outcome, count] of Object.entries(service.outcomes)) this.inc({ outcome }, count)
      },
    })
    new metrics.Gauge({
      name: 'faultline_certificate_expiry_timestamp_seconds',
      help: 'When the last certificate of an identity ends, in seconds of the Unix epoch; past once it has',
      labelNames: ['name'],
      registers,
      collect() {
        this.reset()
        for (const { name, certificateUntil } of registry.list()) {
          if (certificateUntil !== undefined) this.set({ name }, Date.parse(certificateUntil) / 1_000)
        }
      },
    })
  }
}
