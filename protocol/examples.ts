import type { Payload } from './codec.ts'
import type { TopicAddress, TopicKind } from './topics.ts'
import { encodeWindow } from './window-codec.ts'

const site = 'plant-a'
const device = 'press-3'
const point = 'motor-de'
const machine = 'press-3-motor'
const id = '0b0c6f0e-6a59-4f0e-9d5c-3d1b8a6f2c11'
const at = '2026-03-02T08:15:30.120Z'

const localModel = { name: 'bearings-local', version: '1.0.0', digest: 'sha256:4f1a2b3c4d5e' }
const serverModel = { name: 'bearings-server', version: '1.0.0', digest: 'sha256:9e8d7c6b5a40' }
const offered = `sha256:${'4f1a2b3c'.repeat(8)}`
const relevance = { name: 'relevance', parameters: { normal: 'normal', confidence: 0.8 } }

/** Eight samples instead of 2,048, to stay readable. */
const fewSamples = encodeWindow({
  samples: Float32Array.of(0.02, -0.31, 1.83, -1.12, 0.64, -0.27, 0.11, -0.05),
  shape: [8],
  rateHz: 12_000,
})

/**
 * One message of each kind, all of the same story: a window of a bearing that the local model is not sure of. They
 * illustrate the reference pages and the AsyncAPI document, and the tests check them against their schemas.
 */
export const examples: {
  [K in TopicKind]: { address: Extract<TopicAddress, { kind: K }>; payload: Payload<K> }
} = {
  state: {
    address: { kind: 'state', site, device },
    payload: {
      online: true,
      at: '2026-03-02T08:00:04.000Z',
      boot: 12,
      clockSynchronised: true,
      agentVersion: '0.2.0',
      contract: '1.1',
      models: [{ ...localModel, task: 'bearings', role: 'local', engine: 'onnx', enginesRejected: [] }],
      policy: relevance,
      points: [{ point, machine, rateHz: 12_000, windowSamples: 2_048 }],
    },
  },
  health: {
    address: { kind: 'health', site, device },
    payload: {
      at: '2026-03-02T08:15:40.000Z',
      uptimeS: 936,
      counters: {
        windows: 5_480,
        accepted: 5_367,
        answered: 104,
        late: 3,
        rejected: 2,
        offline: 3,
        withheld: 0,
        pending: 1,
      },
      audits: 9,
      audited: [{ machine, audits: 9, silent: 8, missed: 0, wrong: 1, missedAtMost: 0.3123 }],
      revisions: 2,
      errors: 0,
      queues: { spool: 0, pending: 1 },
      roundTripMs: { median: 21.4, p95: 48.9, samples: 104 },
      bytes: { sent: 4_120_334, escalations: 521_840, received: 46_120 },
      budget: {
        total: { used: 6_201_020, left: 13_798_980 },
        escalations: { used: 1_820_440, left: 10_179_560 },
        exploration: { used: 84_300, left: 915_700 },
      },
      price: { value: 0.082, link: 'lte', metered: true, battery: 0.74, serverLoad: 0.04 },
      memoryBytes: 118_489_088,
      temperatureC: 51.2,
    },
  },
  'config-desired': {
    address: { kind: 'config-desired', site, device },
    payload: { revision: 4, config: { policy: relevance, price: 0.3, auditRate: 0.01, deadlineMs: 2_000 } },
  },
  'config-reported': {
    address: { kind: 'config-reported', site, device },
    payload: {
      revision: 4,
      at: '2026-03-02T08:10:00.250Z',
      status: 'applied',
      config: {
        policy: relevance,
        price: 0.3,
        auditRate: 0.01,
        deadlineMs: 2_000,
        reporting: 'every',
        summaryIntervalS: 60,
        healthIntervalS: 10,
      },
    },
  },
  command: {
    address: { kind: 'command', site, device },
    payload: { id: 'c-20260302-1', name: 'ping', args: {} },
  },
  'command-result': {
    address: { kind: 'command-result', site, device },
    payload: {
      id: 'c-20260302-1',
      name: 'ping',
      at: '2026-03-02T08:14:10.000Z',
      ok: true,
      result: { agentVersion: '0.2.0', boot: 12 },
    },
  },
  'update-offer': {
    address: { kind: 'update-offer', site, device },
    payload: {
      id: 'r-20260302-1',
      kind: 'bundle',
      name: 'bearings-local',
      version: '1.1.0',
      digest: offered,
      archive: { bytes: 21_408, sha256: `sha256:${'7c5e'.repeat(16)}` },
      signature: { publicKey: 'qD3Zb0Wd'.repeat(5).concat('c0M'), signature: 'hV4kQz9E'.repeat(10).concat('bXo2Aw') },
      probation: { seconds: 600, windows: 100, disagreement: 0.1 },
      task: 'bearings',
    },
  },
  'update-request': {
    address: { kind: 'update-request', site, device },
    payload: { id: 'r-20260302-1', sha256: `sha256:${'7c5e'.repeat(16)}`, offset: 16_384, bytes: 5_024 },
  },
  'update-chunk': {
    address: { kind: 'update-chunk', site, device },
    // Eight bytes instead of 5,024, to stay readable.
    payload: { id: 'r-20260302-1', offset: 16_384, bytes: Uint8Array.of(31, 139, 8, 0, 0, 0, 0, 0) },
  },
  'update-status': {
    address: { kind: 'update-status', site, device },
    payload: {
      id: 'r-20260302-1',
      kind: 'bundle',
      digest: offered,
      at: '2026-03-02T08:16:00.000Z',
      state: 'probation',
      probation: { seconds: 61.2, windows: 358, audits: 34, wrong: 1 },
    },
  },
  inference: {
    address: { kind: 'inference', site, device, point },
    payload: {
      id,
      at,
      machine,
      label: 'inner-race',
      confidence: 0.987,
      decidedBy: 'server',
      outcome: 'answered',
      reason: 'not-normal',
      numbers: { score: 0.61, threshold: 0.8, price: 0.3 },
      local: {
        label: 'ball',
        confidence: 0.61,
        probabilities: { normal: 0.02, ball: 0.61, 'inner-race': 0.33, 'outer-race': 0.04 },
        model: localModel,
      },
      server: { label: 'inner-race', confidence: 0.987, model: serverModel, agent: 'hall-1' },
      latencyMs: 27.3,
      features: { rms: 0.291, peak: 1.83, crestFactor: 6.29, kurtosis: 7.4 },
      escalationBytes: 4_512,
      shaftHz: 29.5,
    },
  },
  summary: {
    address: { kind: 'summary', site, device, point },
    payload: {
      from: '2026-03-02T08:14:00.000Z',
      to: '2026-03-02T08:15:00.000Z',
      machine,
      windows: 351,
      labels: { normal: 348, ball: 3 },
      outcomes: { accepted: 346, answered: 5 },
      confidence: { min: 0.52, mean: 0.981, max: 0.999 },
      features: { rms: { min: 0.064, mean: 0.071, max: 0.118 }, kurtosis: { min: 2.6, mean: 2.9, max: 3.8 } },
    },
  },
  escalation: {
    address: { kind: 'escalation', site, device, point },
    payload: {
      v: 1,
      id,
      at,
      machine,
      reason: 'not-normal',
      deadline: '2026-03-02T08:15:32.120Z',
      task: 'bearings',
      local: { label: 'ball', confidence: 0.61, probabilities: [0.02, 0.61, 0.33, 0.04], digest: localModel.digest },
      window: fewSamples,
      shaftHz: 29.5,
    },
  },
  verdict: {
    address: { kind: 'verdict', site, device, point },
    payload: {
      id,
      label: 'inner-race',
      confidence: 0.987,
      probabilities: [0.001, 0.009, 0.987, 0.003],
      model: serverModel,
      agent: 'hall-1',
      queueMs: 3.2,
      inferMs: 1.9,
    },
  },
  'upstream-escalation': {
    address: { kind: 'upstream-escalation', site, device, point },
    payload: {
      v: 1,
      id,
      at,
      machine,
      reason: 'below-threshold',
      deadline: '2026-03-02T08:15:31.580Z',
      task: 'bearings',
      local: {
        label: 'inner-race',
        confidence: 0.58,
        probabilities: [0.01, 0.39, 0.58, 0.02],
        digest: serverModel.digest,
      },
      window: fewSamples,
      shaftHz: 29.5,
    },
  },
  'upstream-verdict': {
    address: { kind: 'upstream-verdict', site, device, point },
    payload: {
      id,
      label: 'inner-race',
      confidence: 0.996,
      probabilities: [0.001, 0.002, 0.996, 0.001],
      model: { name: 'bearing-large', version: '1.0.0', digest: 'sha256:9d8e7f6a5b4c' },
      agent: 'cloud-1',
      queueMs: 1.1,
      inferMs: 6.4,
    },
  },
  evidence: {
    address: { kind: 'evidence', site, device, machineType: 'fan-15kw' },
    // Two weights instead of ten, to stay readable: three numbers of a triangle and two of a row.
    payload: {
      at: '2026-03-02T08:10:00.000Z',
      model: localModel.digest,
      kind: 'logistic',
      verdicts: 210,
      sums: [31.2, 58.4, 162.7, 12.9, 61.3],
    },
  },
  pool: {
    address: { kind: 'pool', model: '4f1a2b3c4d5e', machineType: 'fan-15kw', evidence: 'logistic' },
    payload: {
      at: '2026-03-02T08:10:00.000Z',
      model: localModel.digest,
      devices: 6,
      kind: 'logistic',
      verdicts: 1_340,
      sums: [197.4, 371.1, 1_041, 80.2, 388.6],
    },
  },
  'server-state': {
    address: { kind: 'server-state', server: 'hall-1' },
    payload: {
      online: true,
      at: '2026-03-02T08:15:40.000Z',
      boot: 3,
      agentVersion: '0.2.0',
      contract: '1.1',
      models: [{ ...serverModel, task: 'bearings', role: 'server', engine: 'onnx', enginesRejected: [] }],
      capacity: { maxBatch: 32, maxQueue: 512 },
      load: { queued: 0, answered: 1_870, rejected: 2, windowsPerSecond: 1.9, waitMs: 0 },
    },
  },
  alarm: {
    address: { kind: 'alarm', site, machine, fault: 'inner-race' },
    payload: {
      site,
      machine,
      fault: 'inner-race',
      state: 'unacknowledged',
      priority: 'high',
      acknowledged: false,
      since: '2026-03-02T08:15:30.400Z',
      at: '2026-03-02T08:15:30.400Z',
      count: 3,
      evidence: [
        {
          id,
          at,
          device,
          point,
          label: 'inner-race',
          confidence: 0.987,
          decidedBy: 'server',
          local: { label: 'ball', confidence: 0.61 },
          server: { label: 'inner-race', confidence: 0.987 },
          features: { rms: 0.291, peak: 1.83, crestFactor: 6.29, kurtosis: 7.4 },
        },
      ],
      points: [{ device, point }],
      notified: { count: 1, at: '2026-03-02T08:15:30.400Z', to: 'anna@example.com' },
    },
  },
  rollout: {
    address: { kind: 'rollout', rollout: 'r-20260302-1' },
    payload: {
      at: '2026-03-02T08:16:00.400Z',
      artifact: { kind: 'bundle', name: 'bearings-local', version: '1.1.0', digest: offered },
      state: 'running',
      by: 'anna',
      startedAt: '2026-03-02T08:14:30.000Z',
      groups: [{ probation: 1 }, { waiting: 4 }, { waiting: 35 }],
      failures: [],
    },
  },
  'rollout-command': {
    address: { kind: 'rollout-command', rollout: 'r-20260302-1' },
    payload: {
      id: 'k-20260302-1',
      by: 'anna',
      name: 'start',
      start: { artifact: offered, site, canaries: [`devices/${site}/${device}`], maxFailures: '10%' },
    },
  },
  'rollout-result': {
    address: { kind: 'rollout-result', rollout: 'r-20260302-1' },
    payload: { id: 'k-20260302-1', at: '2026-03-02T08:14:30.000Z', ok: true },
  },
  'rollout-service': {
    address: { kind: 'rollout-service', service: 'rollouts' },
    payload: {
      online: true,
      at: '2026-03-02T08:00:02.000Z',
      artifacts: [{ kind: 'bundle', name: 'bearings-local', version: '1.1.0', digest: offered }],
    },
  },
}
