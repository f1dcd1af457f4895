import type { Measurement, TagName } from './point.ts'
import type { Tier } from './retention.ts'

export interface FieldEntry {
  /** With a `*` for the part that the sender chooses. */
  name: string
  type: 'number' | 'text' | 'boolean'
  /** Of a number; a dash for one that is only a number. */
  unit: string
  meaning: string
}

export interface MeasurementEntry {
  about: string
  /** What its time says. */
  time: string
  tags: Partial<Record<TagName, string>>
  fields: FieldEntry[]
  /** Where it is rolled up. Health comes once a minute at most: minutes of it would be larger than itself. */
  rolledUp: readonly Tier[]
  /** A text field that every point has, counted where there are no numbers to roll up. */
  counted?: string
  note?: string
}

const number = (name: string, unit: string, meaning: string): FieldEntry => ({ name, type: 'number', unit, meaning })
const text = (name: string, meaning: string): FieldEntry => ({ name, type: 'text', unit: '', meaning })
const boolean = (name: string, meaning: string): FieldEntry => ({ name, type: 'boolean', unit: '', meaning })

const site = 'the plant'
const device = 'the device agent'
const point = 'the measurement point'
const machine = 'what the point is on'
const online = '`yes`, `no`'

/** Every measurement with each of its tags and fields: what the reference page and the roll-ups are made from. */
export const catalogue: Record<Measurement, MeasurementEntry> = {
  inference: {
    about: 'One final answer for one window.',
    time: 'end of the window',
    tags: {
      site,
      device,
      point,
      machine,
      label: 'the answer: a class of the task',
      decidedBy: '`local`, `server`, `local-fallback`, `episode`',
      outcome: '`accepted`, `answered`, `late`, `rejected`, `offline`, `withheld`',
      revision: '`yes` when it replaces an earlier inference of the same window, otherwise `no`',
    },
    fields: [
      text('id', 'of the window'),
      text('revises', 'id of the inference it replaces; only with `revision` = `yes`'),
      number('confidence', '0 to 1', 'of the answer; absent when nobody had a valid one'),
      text('reason', 'why the window was accepted or escalated'),
      number('latencyMs', 'ms', 'from the end of the window to the answer; in every point, so it counts windows'),
      number('escalationBytes', 'bytes', 'topic and payload of the window as an escalation, sent or not'),
      number('shaftHz', 'Hz', 'shaft rate'),
      text('localLabel', 'what the local model said'),
      number('localConfidence', '0 to 1', 'of that'),
      number('probability_*', '0 to 1', 'what the local model gave each class; absent with more than 16 classes'),
      text('localModel', '`name@version`'),
      text('localDigest', 'of the bundle'),
      text('serverLabel', 'what the server model said, where it was asked and answered'),
      number('serverConfidence', '0 to 1', 'of that'),
      text('serverModel', '`name@version`'),
      text('serverDigest', 'of the bundle'),
      text('serverAgent', 'who answered'),
      number('number_*', 'as the number', 'behind the decision: `number_score`, `number_threshold`, `number_price`, …'),
      number(
        'feature_*',
        'as the feature',
        'signal features: `feature_rms`, `feature_kurtosis`, …; levels in the unit of the signal',
      ),
    ],
    rolledUp: ['minutes', 'hours'],
    note: 'A late verdict makes a second point with `revision` = `yes`; the original stays. To count windows, count points with `revision` = `no`.',
  },
  summary: {
    about:
      'What happened at a point over an interval, where a device reports by exception. Inferences that were not published are only here.',
    time: 'end of the interval',
    tags: { site, device, point, machine },
    fields: [
      number('intervalMs', 'ms', 'length of the interval'),
      number('windows', 'windows', 'in the interval'),
      number('label_*', 'windows', 'by label: `label_normal`, …'),
      number('outcome_*', 'windows', 'by outcome: `outcome_accepted`, …'),
      number('confidence_min', '0 to 1', 'least; absent when no window had a valid answer, as are the next two'),
      number('confidence_mean', '0 to 1', 'mean'),
      number('confidence_max', '0 to 1', 'greatest'),
      number('feature_*', 'as the feature', 'each with `_min`, `_mean` and `_max` behind it: `feature_rms_max`'),
    ],
    rolledUp: ['hours'],
  },
  verdict: {
    about: 'A server agent’s answer to one escalation.',
    time: 'first reception by the recorder: a verdict has no time of its own',
    tags: {
      site,
      device,
      point,
      agent: 'the server agent',
      result: '`answered`, or why not: `overloaded`, `expired`, `no-model`, `bad-window`',
      label: 'the answer, when `answered`',
    },
    fields: [
      text('id', 'of the window'),
      number('confidence', '0 to 1', 'of the answer'),
      number('queueMs', 'ms', 'waiting at the server agent'),
      number('inferMs', 'ms', 'inference'),
      text('model', '`name@version`'),
      text('digest', 'of the bundle'),
      number('retryAfterMs', 'ms', 'with a rejection'),
    ],
    rolledUp: ['hours'],
  },
  health: {
    about: 'How a device agent does. Counters grow from its start.',
    time: 'when it was said',
    tags: { site, device },
    fields: [
      number('uptimeS', 's', 'since the agent’s start'),
      number('windows', 'windows', 'the sum of the next seven'),
      number('accepted', 'windows', 'the local answer stands'),
      number('answered', 'windows', 'the server’s answer stands'),
      number('late', 'windows', 'the verdict came after the deadline, or never'),
      number('rejected', 'windows', 'the server declined'),
      number('offline', 'windows', 'no connection to ask over'),
      number('withheld', 'windows', 'not sent: no budget, or an episode holds'),
      number('pending', 'windows', 'waiting for a verdict'),
      number('audits', 'windows', 'accepted ones that were sent to be audited'),
      number('revisions', 'verdicts', 'that came late and revised an inference'),
      number('errors', '-', 'windows and messages refused, failures of a source'),
      number('overruns', 'windows', 'passed over because the one before was not done'),
      number('spoolQueue', 'messages', 'waiting for the connection'),
      number('pendingQueue', 'windows', 'waiting for a verdict'),
      number('droppedMessages', 'messages', 'given up by the device’s full spool'),
      number('roundTripMedianMs', 'ms', 'escalation to verdict'),
      number('roundTripP95Ms', 'ms', 'the same, 95th percentile'),
      number('roundTripSamples', 'verdicts', 'behind both'),
      number('bytesSent', 'bytes', 'topics and payloads'),
      number('bytesEscalations', 'bytes', 'the part of it that was raw windows'),
      number('bytesReceived', 'bytes', 'topics and payloads'),
      number('budgetUsed', 'bytes', 'in the last 24 hours, of everything published'),
      number('budgetLeft', 'bytes', 'of that'),
      number('escalationBudgetUsed', 'bytes', 'the part of it that was raw windows'),
      number('escalationBudgetLeft', 'bytes', 'of that'),
      number('explorationBudgetUsed', 'bytes', 'the part of that for windows sent to learn from'),
      number('explorationBudgetLeft', 'bytes', 'of that'),
      number('price', 'wrong answers', 'what an escalation costs'),
      text('link', 'the link of the price list that the connection is on'),
      number('battery', '0 to 1', 'charge'),
      number('serverLoad', '0 to 1', 'announced wait as a share of the deadline'),
      number('memoryBytes', 'bytes', 'of the agent’s process'),
      number('temperatureC', '°C', 'of the processor'),
      number('energyJ', 'J', 'estimated'),
    ],
    rolledUp: ['hours'],
    note: 'A field is absent where the device has nothing to say: no budget, no battery, no verdict yet.',
  },
  audit: {
    about:
      'One answered [audit](policies.md#audits), besides the inference of its window. The recorder reads it from the inference: its reason, the device’s label and the server’s. Which class means that nothing is wrong is `normal` of its configuration.',
    time: 'end of the window',
    tags: {
      site,
      device,
      point,
      machine,
      audited: 'digest of the local model whose answer had been accepted',
      finding:
        '`normal-confirmed`, `missed-fault` (accepted as normal; the server agrees or sees a fault), `confirmed`, `misnamed` (accepted as a fault; the server agrees or says anything else)',
    },
    fields: [
      text('id', 'of the window, also where the verdict came late'),
      text('localLabel', 'what the device said'),
      text('serverLabel', 'what the server said'),
      text('serverDigest', 'of the server model'),
    ],
    rolledUp: ['hours'],
    counted: 'id',
  },
  state: {
    about: 'A device agent comes or goes.',
    time: 'when it was said; a will has no time and is dated by its first reception',
    tags: { site, device, online },
    fields: [
      number('boot', '-', 'number of the agent’s start'),
      boolean('clockSynchronised', 'while online, as are the next four'),
      text('agentVersion', 'of the agent'),
      text('policy', 'its name'),
      text('models', '`local bearings@1.2.0 on onnx, …`'),
      number('points', '-', 'how many it measures'),
    ],
    rolledUp: [],
  },
  server_state: {
    about: 'A server agent comes or goes, or says how busy it is.',
    time: 'as for `state`',
    tags: { server: 'the server agent', online },
    fields: [
      number('boot', '-', 'number of the agent’s start'),
      text('agentVersion', 'of the agent'),
      text('models', 'as for `state`'),
      number('maxBatch', 'windows', 'in one batch'),
      number('maxQueue', 'windows', 'that may wait'),
      number('queued', 'windows', 'that wait'),
      number('answered', 'windows', 'since the start'),
      number('rejected', 'windows', 'since the start'),
      number('windowsPerSecond', 'windows/s', 'lately'),
      number('waitMs', 'ms', 'what a window that comes now is expected to wait'),
    ],
    rolledUp: ['hours'],
  },
  config_reported: {
    about: 'The configuration that is in force at a device.',
    time: 'when it was said',
    tags: { site, device, status: '`applied`, `refused`' },
    fields: [
      number('desiredRevision', '-', 'the revision that was asked for'),
      text('errorCode', 'why it was refused'),
      text('policy', 'its name'),
      number('price', 'wrong answers', 'of an escalation'),
      number('auditRate', '0 to 1', 'share of accepted windows that are audited; or'),
      number('auditMissedAtMost', '0 to 1', 'what audits are to prove,'),
      number('auditWithinDays', 'days', 'and within how long'),
      number('episodeAgreeing', 'verdicts', 'that begin an episode; absent when off, as is the next'),
      number('episodeHoldS', 's', 'how long it holds'),
      number('deadlineMs', 'ms', 'of a verdict'),
      text('reporting', '`every`, `exception`'),
      number('summaryIntervalS', 's', ''),
      number('healthIntervalS', 's', ''),
      text('currency', 'of the price list'),
      number('missedFaultCost', 'currency', 'of one missed fault'),
      number('falseAlarmCost', 'currency', 'of one false alarm'),
      text('link', 'that is assumed'),
      number('tariffPerMB', 'currency/MB', 'of that link'),
      number('bytesPerDay', 'bytes', 'of the budget'),
      number('escalationBytesPerDay', 'bytes', 'the part of it for raw windows'),
      number('explorationBytesPerDay', 'bytes', 'the part of that for windows sent to learn from'),
    ],
    rolledUp: [],
  },
  command_result: {
    about: 'What came of a command.',
    time: 'when it was said',
    tags: { site, device },
    fields: [
      text('id', 'of the command'),
      text('command', 'its name'),
      boolean('ok', 'whether it was done'),
      text('errorCode', 'why not'),
    ],
    rolledUp: [],
  },
  update: {
    about: 'How far a device said it was with an update.',
    time: 'when it was said',
    tags: { site, device, state: 'of the update, as in the [payload](payloads.md#update-status)' },
    fields: [
      text('id', 'of the rollout'),
      text('kind', '`bundle` for a model, `agent` for the software'),
      text('digest', 'of what was offered'),
      number('receivedBytes', 'bytes', 'of the archive that are on the device, while downloading; so is the next'),
      number('archiveBytes', 'bytes', 'of the whole archive'),
      number('probationS', 's', 'since probation began; absent before, as are the next'),
      number('probationWindows', 'windows', 'judged on probation'),
      number('probationAudits', 'windows', 'of these that were accepted and that a server judged too'),
      number('probationWrong', 'windows', 'of these that the server gave another label'),
      text('errorCode', 'why it failed or was rolled back'),
    ],
    rolledUp: [],
  },
  alarm: {
    about: 'One change of an alarm.',
    time: 'of the change',
    tags: { site, machine, fault: 'the class', state: 'of ISA-18.2, as in the [payload](payloads.md#alarm)' },
    fields: [
      boolean('acknowledged', 'whether somebody knows'),
      text('priority', '`critical`, `high`, `medium` or `low`'),
      text('suppression', 'how it is out of sight: `shelved`, `by-design` or `out-of-service`'),
      boolean('present', 'whether the fault is there, while it is out of sight'),
      text('action', 'the last thing that a person did with it'),
      number('actionMs', 'ms since 1970', 'when it was done'),
      text('actionBy', 'who did it'),
      text('comment', 'what they wrote'),
      number('notified', 'notices', 'since it was raised and not acknowledged'),
      text('notifiedTo', 'who got the last one'),
      number('sinceMs', 'ms since 1970', 'when the state began'),
      number('windows', 'windows', 'that showed the fault since the alarm was raised'),
      number('evidence', 'windows', 'that the message named'),
      text('newestEvidenceId', 'id of the newest of these'),
    ],
    rolledUp: [],
  },
}

/** The names of a measurement's numbers as a regular expression that JavaScript and InfluxQL both read. */
export function numbersOf(measurement: Measurement): string | undefined {
  const names = catalogue[measurement].fields.filter(({ type }) => type === 'number').map(({ name }) => name)
  return names.length === 0 ? undefined : `^(${names.map(name => name.replace('*', '.+')).join('|')})$`
}
