/**
 * The one list of error codes. A code is stable and documented (`docs/reference/errors.md` is generated from here):
 * `title` says what happened, `remedy` what a person can do about it.
 */
export const errorCodes = {
  // Messages
  COMMAND_INVALID: {
    title: 'A command cannot be carried out as it was given',
    remedy: 'The message says what the command takes.',
  },
  COMMAND_INTERRUPTED: {
    title: 'A device ended, more than once, while it carried a command out',
    remedy: 'Look at its log for why it ended, then send the command anew under another id.',
  },
  COMMAND_UNKNOWN: { title: 'A device does not know a command', remedy: 'Check its name, or update the device.' },
  MESSAGE_TOO_LARGE: {
    title: 'A payload exceeds the size limit',
    remedy: 'Send smaller windows, or raise the limit on both sides.',
  },
  MESSAGE_MALFORMED: {
    title: 'A payload is not the JSON or CBOR it should be',
    remedy: 'Check the publisher; compare with the payload reference.',
  },
  MESSAGE_INVALID: {
    title: 'A payload does not fit its schema',
    remedy: 'The message names the field; compare with the payload reference.',
  },
  MESSAGE_VERSION_UNSUPPORTED: {
    title: 'A payload has a version this software does not speak',
    remedy: 'Update the older side.',
  },
  TOPIC_UNKNOWN: { title: 'A topic is not part of the contract', remedy: 'Compare with the topic reference.' },
  WINDOW_INVALID: {
    title: 'A window has the wrong shape, type or values',
    remedy: 'Check sample count, dtype, scale and that every sample is finite.',
  },
  IDENTIFIER_INVALID: {
    title: 'A name is not a valid identifier',
    remedy: 'Use 1 to 63 of a-z, 0-9 and "-", not starting with "-".',
  },
  // Configuration and files
  CONFIG_EXISTS: {
    title: 'A configuration file is there already',
    remedy: 'Move it away, or give another path; files are never overwritten.',
  },
  CONFIG_INVALID: {
    title: 'A configuration file or option is wrong',
    remedy: 'The message names the entry; compare with the configuration reference.',
  },
  CONFIG_UNREADABLE: { title: 'A configuration file cannot be read', remedy: 'Check the path and its permissions.' },
  DATABASE_FAILED: {
    title: 'A database file cannot be opened or written',
    remedy:
      'The message says what is wrong (disk full, damaged, locked, read-only, newer) and what mends it; `npm run store -- FILE` checks it.',
  },
  REDIS_UNREACHABLE: {
    title: 'The Redis that brokers share does not answer',
    remedy: 'Check the URL in `redis`, and that Redis runs and lets the broker in.',
  },
  OUTPUT_UNWRITABLE: {
    title: 'A result cannot be written',
    remedy: 'Check the path, its permissions and free space.',
  },
  ADDRESS_IN_USE: { title: 'A port is taken', remedy: 'Choose another port, or stop the program that holds it.' },
  // Budgets
  BUDGET_EXHAUSTED: {
    title: 'The byte budget of a device has no room for a message',
    remedy: 'Wait: bytes come back 24 hours after they were spent. Or raise `budget`, or report less often.',
  },
  // Archives of hard windows
  ARCHIVE_FAILED: {
    title: 'An archive of hard windows cannot be opened, read or written',
    remedy: 'Check the directory, its permissions and free space, and that no other server agent writes to it.',
  },
  LABELS_INVALID: {
    title: 'Labels for archived windows cannot be used',
    remedy: 'Correct the lines that were named and give the file again; nothing was labelled.',
  },
  // Models
  AUDIT_STATE_INVALID: {
    title: 'The kept account of audits cannot be restored',
    remedy: 'Nothing to do: audits are counted anew.',
  },
  BUNDLE_UNREADABLE: { title: 'A bundle cannot be read', remedy: 'Check the directory and its bundle.json.' },
  BUNDLE_INVALID: { title: 'A bundle description does not fit the format', remedy: 'The message names the field.' },
  BUNDLE_DIGEST_MISMATCH: {
    title: 'A file of a bundle is not the one its description names',
    remedy: 'Copy the bundle again; do not edit its files.',
  },
  BUNDLE_GOLDEN_MISMATCH: {
    title: 'A network does not reproduce its golden outputs',
    remedy: 'Try another engine; if all disagree the bundle is damaged.',
  },
  BUNDLE_SIGNATURE_INVALID: {
    title: 'A bundle is signed wrongly, or with a key that is not trusted',
    remedy: 'Get the bundle from its maker again, or add the key to those you trust if you know whose it is.',
  },
  BUNDLE_UNSIGNED: {
    title: 'A bundle has no signature and only signed ones are accepted',
    remedy: 'Sign it with `npm run models -- sign`, or do without a list of trusted keys.',
  },
  COMMISSIONING_STATE_INVALID: {
    title: 'A saved commissioning state cannot be restored',
    remedy: 'Delete the state; the point learns its machine anew.',
  },
  ENGINE_UNAVAILABLE: {
    title: 'An inference engine is not installed or does not run here',
    remedy: 'Install it, or let another engine be chosen.',
  },
  ENGINE_LOAD_FAILED: {
    title: 'An engine cannot load a network',
    remedy: "Check that the bundle holds this engine's format.",
  },
  FEATURE_UNKNOWN: {
    title: 'A bundle asks for a signal feature that does not exist',
    remedy: 'Compare with the feature list in the metrics reference.',
  },
  MODEL_EXPORT_UNSUPPORTED: {
    title: 'A network cannot be written as ONNX',
    remedy: 'The message names the layer; replace it, or export the network with its own tool.',
  },
  MODEL_IMPORT_UNSUPPORTED: {
    title: 'A model uses something no bundle can hold',
    remedy: 'The message names it; export the model again without it.',
  },
  MODEL_MISMATCH: {
    title: 'A model does not take or give what was declared',
    remedy: 'The message says what it takes or gives; correct the option it names.',
  },
  MODEL_UNREADABLE: {
    title: 'A model file is missing or is no ONNX or TF.js model',
    remedy: 'Check the path; give an .onnx file, or the directory of a TF.js model.json.',
  },
  POLICY_UNKNOWN: { title: 'No policy has this name', remedy: 'Compare with the policy reference.' },
  POLICY_STATE_INVALID: {
    title: 'A saved policy state cannot be restored',
    remedy: 'Delete the state; the policy starts anew.',
  },
  // Updates
  UPDATE_CRASHED: {
    title: 'An update was taken back: the agent ended again and again while it was on probation',
    remedy: "See the agent's log around the restarts; the version before runs again.",
  },
  UPDATE_DAMAGED: {
    title: 'What was fetched for an update is not what was offered',
    remedy: 'Roll it out again. If it happens on every device, look at who serves the rollout.',
  },
  UPDATE_INCOMPATIBLE: {
    title: 'An update does not fit a device',
    remedy: 'The message names what differs: task, classes, samples, rate, processor. Offer it to other devices.',
  },
  UPDATE_PROBATION_FAILED: {
    title: 'An update was taken back: it did worse than it may while it was on probation',
    remedy: 'The message has the figures; the version before runs again. Evaluate the model on data of that machine.',
  },
  UPDATE_REFUSED: {
    title: 'A device takes no such update',
    remedy:
      'The message says why: no trusted keys are configured, or an agent that was not put there by its installer.',
  },
  UPDATE_WITHDRAWN: {
    title: 'An update was withdrawn before a device had it',
    remedy: 'Nothing to do: what ran before runs on.',
  },
  ROLLOUT_INVALID: {
    title: 'A rollout cannot be done as it was asked for',
    remedy: 'The message says what is missing or does not fit.',
  },
  ROLLOUTS_NOT_SERVED: {
    title: 'No process runs the rollouts of this registry',
    remedy:
      'Start `npm run provision -- serve --identity operators/NAME --broker-url URL`, or run the rollout in the terminal with `--here`.',
  },
  ROLLOUTS_SERVED: {
    title: 'Another process runs the rollouts of this registry',
    remedy: 'One is enough: leave out `--here`, or stop the other.',
  },
  ROLLOUT_UNKNOWN: {
    title: 'There is no rollout of this name',
    remedy: 'List them with `npm run provision -- rollout list`.',
  },
  // Data
  RECORDING_UNREADABLE: {
    title: 'A recording or data set cannot be read',
    remedy: 'Check the path and the format named in the message.',
  },
  RECORDING_INVALID: {
    title: 'A recording is not what its description says',
    remedy: 'Check rate, length and digest in the manifest.',
  },
  SENSOR_FAILED: {
    title: 'A sensor cannot be read',
    remedy: 'The message names the device or program and what it said; see the sensors guide. The agent tries again.',
  },
  TRACE_INVALID: {
    title: 'A trace of predictions is not the CSV it should be',
    remedy: 'The message names the line; compare with the what-if reference.',
  },
  // Identities
  CREDENTIALS_REFUSED: {
    title: 'The broker refused the credentials',
    remedy: 'Check the name and secret, or whether the identity was revoked.',
  },
  IDENTITY_CONTESTED: {
    title: 'Another client uses the same identity: each ends the connection of the other',
    remedy:
      'Find the copy (a cloned card, a second configuration file) by the address in the log of the broker, and enrol it under a name of its own.',
  },
  IDENTITY_EXISTS: {
    title: 'An identity of this name is enrolled already',
    remedy: 'Choose another name, or revoke the old one.',
  },
  IDENTITY_UNKNOWN: {
    title: 'No identity of this name is enrolled',
    remedy: 'List the identities with `npm run provision -- list`.',
  },
  CERTIFICATE_INVALID: {
    title: 'A certificate, a request for one or its key is not what it should be',
    remedy: 'The message names the file; check that certificate, key and authority belong together.',
  },
  AUTHORITY_EXISTS: {
    title: "The fleet's certificate authority is there already",
    remedy: 'Keep it: without its key no certificate can be renewed. For another fleet give another directory.',
  },
  AUTHORITY_MISSING: {
    title: "The fleet's certificate authority is not there",
    remedy: 'Make it with `npm run provision -- init`, or give the directory it is in.',
  },
  ROLLOVER_REFUSED: {
    title: 'A step from one authority to the next cannot be taken now',
    remedy: 'See how far it is with `npm run provision -- authority`; wait for those that are named, or use --force.',
  },
  CLAIM_REFUSED: {
    title: 'A claim was refused: wrong, expired or used already',
    remedy: 'Check name and token; have a new token made with `npm run provision -- re-enroll NAME --claim`.',
  },
  CSV_INVALID: {
    title: 'A list of devices has lines that cannot be used',
    remedy: 'Correct the lines that were named and give the file again; nothing was enrolled.',
  },
  ENROLMENT_REFUSED: {
    title: 'The provisioning service did not renew a certificate',
    remedy: 'See whether the identity was revoked or rotated; claim a new certificate if it was.',
  },
  ENROLMENT_UNREACHABLE: {
    title: 'The provisioning service cannot be reached, or is not the one that was named',
    remedy: "Check enrolment.url, enrolment.fingerprint, the network and this machine's clock.",
  },
  BACKUP_INVALID: {
    title: 'A file is no backup of a site, is damaged, or its passphrase is another one',
    remedy:
      'Give a file that `npm run faultline -- backup` wrote, with the passphrase it was encrypted with, or an earlier backup.',
  },
  RESTORE_REFUSED: {
    title: 'Files are where a backup would be restored to',
    remedy: 'Stop the programs and move what is there away, or restore to an empty directory.',
  },
  EXPORT_INVALID: {
    title: 'A file is not an export of a registry, or there is no empty registry to take it',
    remedy: 'Give a file that `npm run provision -- export` wrote, and the path of a registry that is not there yet.',
  },
  // Services
  ANSWER_MISSING: {
    title: 'Nobody answered in time',
    remedy: 'See whether the device or a server agent is online; wait longer where the network is slow.',
  },
  ESCALATION_REJECTED: {
    title: 'A server agent rejected an escalation',
    remedy: 'The message says why: overloaded or expired, no model for the task, or a window that does not fit it.',
  },
  CLIENT_TOO_FAST: {
    title: 'A client sends more than its share, and being held back does not slow it down',
    remedy: 'Let it send less, or raise limits.messagesPerSecond or limits.bytesPerSecond of the broker.',
  },
  CLIENT_TOO_SLOW: {
    title: 'A client does not keep up with what it is sent',
    remedy: 'Let it subscribe to less, look at its network, or raise limits.outboundBytes of the broker.',
  },
  BROKER_UNREACHABLE: { title: 'The broker cannot be reached', remedy: 'Check its address, port and the network.' },
  STORE_FAILED: {
    title: 'The telemetry store cannot be reached or refused a request',
    remedy: 'Check the address, the database and free space.',
  },
  STORE_NOT_FOUND: {
    title: 'There is no telemetry store where one was looked for',
    remedy: 'Check the file, or the address and the name of the database.',
  },
  TELEMETRY_EMPTY: {
    title: 'Nothing that was asked for was recorded',
    remedy: 'Take another time or another machine; the message says what was looked at.',
  },
  TELEMETRY_INCOMPLETE: {
    title: 'What was recorded does not hold what a question needs',
    remedy: 'The message says what is missing; take a later time, or a policy that does not look at it.',
  },
  WORKER_FAILED: {
    title: 'A process that runs models ended, or did not answer in time and was ended',
    remedy:
      'It is started again; the log around it names the windows it had. If one model does it often, try another engine.',
  },
  NOT_ALLOWED: {
    title: 'Somebody asked for what their role does not allow',
    remedy: 'A viewer of the dashboard looks; for more, an admin gives the role `operator` in `users`.',
  },
  FLOWS_FAILED: { title: 'The Node-RED runtime did not start', remedy: 'Read its log lines above this error.' },
  PACKAGE_FAILED: {
    title: 'An agent package was not written',
    remedy: 'The message says why; the npm registry has to be reachable, and `npm ci` run.',
  },
  // Own mistakes
  INTERNAL: { title: 'Something failed that should not', remedy: 'Report it with the log around it.' },
} as const satisfies Record<string, { title: string; remedy: string }>

export type ErrorCode = keyof typeof errorCodes

/** Every error that crosses a folder's boundary: a code from the list and one clear sentence. */
export class FaultlineError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'FaultlineError'
    this.code = code
  }
}

/** Wraps whatever was thrown; errors that have a code already pass unchanged. */
export function toFaultlineError(thrown: unknown, code: ErrorCode = 'INTERNAL', prefix = ''): FaultlineError {
  if (thrown instanceof FaultlineError) return thrown
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new FaultlineError(code, prefix ? `${prefix}: ${message}` : message, { cause: thrown })
}
