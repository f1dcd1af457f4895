/** A fault that was made on purpose, and the tests that must notice it. */
export interface Mutant {
  file: string
  /** Occurs once in the file. */
  find: string
  replace: string
  /** As `npm test` takes them. */
  tests: readonly string[]
  /** What an operator would see. */
  breaks: string
}

/**
 * Faults that tests must notice: in what protects (rights, credentials, signatures), in what bounds (queues, budgets, batches), in what
 * keeps (spool, sessions, state), and in the wiring between units that are tested well each for itself.
 */
export const mutants: readonly Mutant[] = [
  // Protocol: rights and identities.
  {
    file: 'protocol/access.ts',
    find: "if (other === undefined || other === '#') return false",
    replace: 'if (other === undefined) return false',
    tests: ['protocol/access'],
    breaks: 'a filter with "#" reads more than its rule grants',
  },
  {
    file: 'protocol/access.ts',
    find: "if (access === 'publish' && !parseTopic(topicOrFilter)) return false",
    replace: '',
    tests: ['protocol/access'],
    breaks: 'topics outside the contract may be published, and are kept as retained messages',
  },
  {
    file: 'protocol/access.ts',
    find: 'return requestedLevels.length === grantedLevels.length',
    replace: 'return true',
    tests: ['protocol/access'],
    breaks: 'a rule grants everything below its topic',
  },

  // Broker: log-in, rights, limits.
  {
    file: 'broker/authentication.ts',
    find: ' && timingSafeEqual(known.digest, digest)',
    replace: '',
    tests: ['broker/authentication'],
    breaks: 'after one right log-in, any secret is right for that name',
  },
  {
    file: 'broker/authentication.ts',
    find: 'if (!this.ask(() => this.stands(identity.name, proof)))',
    replace: 'if (false)',
    tests: ['broker/authentication'],
    breaks: 'an identity that is revoked while its secret is checked is let in',
  },
  {
    file: 'broker/authentication.ts',
    find: 'if (connect?.will && !mayPublish(identity, connect.will.topic))',
    replace: 'if (false)',
    tests: ['broker/authentication', 'broker/authorisation'],
    breaks: 'a client with a will that it may not publish is let in',
  },
  {
    file: 'broker/authentication.ts',
    find: 'if (subject.CN !== issued.identity.name)',
    replace: 'if (false)',
    tests: ['broker/tls'],
    breaks: 'a certificate that bears another name is taken',
  },
  {
    file: 'broker/authentication.ts',
    find: "if (identity.role !== 'operator') return false",
    replace: '',
    tests: ['broker/authentication'],
    breaks: 'a device may have sessions under any client id',
  },
  {
    file: 'broker/authentication.ts',
    find: 'if (running.size >= maximumChecks)',
    replace: 'if (false)',
    tests: ['broker/authentication'],
    breaks: 'guesses take every thread that checks secrets',
  },
  {
    file: 'broker/engine.ts',
    find: 'packet.keepalive = Math.min(packet.keepalive || limits.keepAliveS, limits.keepAliveS)',
    replace: '',
    tests: ['broker/limits'],
    breaks: 'a dead client without a keep-alive stays connected for ever',
  },
  {
    file: 'broker/engine.ts',
    find: 'if (!granted.has(filter) && granted.size >= limits.subscriptionsPerClient)',
    replace: 'if (false)',
    tests: ['broker/limits'],
    breaks: 'a client may have subscriptions without end',
  },
  {
    file: 'broker/connection-limits.ts',
    find: "if (same >= connectionsPerAddress) return 'too many connections from this address'",
    replace: '',
    tests: ['broker/limits'],
    breaks: 'one address may take all connections',
  },
  {
    file: 'broker/rate-limit.ts',
    find: 'Math.max(-this.messages / messagesPerSecond, -this.bytes / bytesPerSecond)',
    replace: '-this.messages / messagesPerSecond',
    tests: ['broker/limits'],
    breaks: 'a client may send bytes without a limit',
  },
  {
    file: 'broker/packet-cap.ts',
    find: 'this.length > (this.isFirst ? this.firstBytes : this.maximumBytes)',
    replace: 'this.length > this.maximumBytes',
    tests: ['broker/packet-cap'],
    breaks: 'a client that has not logged in may send large packets',
  },
  {
    file: 'broker/delivery.ts',
    find: 'unread + bytes > options.outboundBytes',
    replace: 'false',
    tests: ['broker/limits'],
    breaks: 'a client that does not read fills the memory',
  },

  // Broker: groups, queues, the bridge.
  {
    file: 'broker/shared-group.ts',
    find: 'const index = (this.last + step) % this.members.length',
    replace: 'const index = step - 1',
    tests: ['broker/shared-subscriptions'],
    breaks: 'one member of a group gets all the work',
  },
  {
    file: 'broker/shared-group.ts',
    find: 'if (!member.client.conn.writableNeedDrain)',
    replace: 'if (true)',
    tests: ['broker/shared-subscriptions'],
    breaks: 'a member that reads slowly is given work while others are free',
  },
  {
    file: 'broker/shared-group.ts',
    find: 'this.giveBack(gone!.inFlight.values())',
    replace: '',
    tests: ['broker/shared-subscriptions'],
    breaks: 'what a member has not acknowledged waits for ever once its connection is lost',
  },
  {
    file: 'broker/persistence/queues.ts',
    find: 'const before = this.clock.now() - this.limits.queuedMs',
    replace: 'const before = Date.now() - this.limits.queuedMs',
    tests: ['broker/persistence'],
    breaks: 'a clock that is put forward drops every queued message',
  },
  {
    file: 'broker/persistence/queues.ts',
    find: '(telemetry.get(client) ?? oldest.get(client))',
    replace: 'oldest.get(client)',
    tests: ['broker/session-queues', 'broker/persistence'],
    breaks: 'a full queue drops commands before telemetry',
  },
  {
    file: 'broker/persistence/queues.ts',
    find: 'if (messages <= most.messages && bytes <= most.bytes) return',
    replace: 'if (messages <= most.messages) return',
    tests: ['broker/session-queues', 'broker/persistence'],
    breaks: 'the queue of a session has no limit of bytes',
  },
  {
    file: 'broker/stored-sessions.ts',
    find: 'if (connected.has(id)) this.absentSince.delete(id)',
    replace: 'if (false) this.absentSince.delete(id)',
    tests: ['broker/session-queues', 'broker/broker', 'broker/persistence'],
    breaks: 'the stored session of a connected client ends',
  },
  {
    file: 'broker/bridge-queue.ts',
    find: 'entry.expiresAt = performance.now() + Date.parse(deadline) - Date.parse(at)',
    replace: '',
    tests: ['broker/bridge'],
    breaks: 'escalations that have expired are carried up',
  },

  // Runtime.
  {
    file: 'runtime/login-throttle.ts',
    find: 'this.leftAt(bucket, performance.now()) < 1',
    replace: 'false',
    tests: ['runtime/login-throttle'],
    breaks: 'secrets may be guessed without end',
  },
  {
    file: 'runtime/mqtt-session.ts',
    find: 'ceiling * (0.5 + Math.random() / 2)',
    replace: 'ceiling',
    tests: ['runtime/mqtt-session'],
    breaks: 'a fleet reconnects at the same moment',
  },
  {
    file: 'runtime/mqtt-session.ts',
    find: 'if (refused.some(filter => needed.includes(filter))) throw error',
    replace: '',
    tests: ['runtime/mqtt-session'],
    breaks: 'a process whose subscription was refused counts as online and hears nothing',
  },
  {
    file: 'runtime/mqtt-session.ts',
    find: 'if (delivery[message.kind].retain && !this.order.accepts(topic, message, retained))',
    replace: 'if (false)',
    tests: ['runtime/message-order'],
    breaks: 'a device that came back is shown as offline: its old state came late',
  },
  {
    file: 'runtime/enrolment.ts',
    find: '        await this.askWhomToBelieve(signal)\n        failures = 0',
    replace: '        failures = 0',
    tests: ['runtime/enrolment'],
    breaks: 'an agent counts as certified before it has the authorities of its broker',
  },
  {
    file: 'runtime/server-reach.ts',
    find: 'if (now < this.probeAt) return false',
    replace: '',
    tests: ['runtime/server-reach'],
    breaks: 'every window is sent to servers that are gone',
  },

  // Device agent.
  {
    file: 'device-agent/point-monitor.ts',
    find: 'if (fault || !this.handlers.takes',
    replace: 'if (!this.handlers.takes',
    tests: ['device-agent/sensor-faults'],
    breaks: 'windows of a faulty sensor are judged, published and raise alarms',
  },
  {
    file: 'device-agent/decisions/window-flow.ts',
    find: 'if (!assessment.valid || assessment.by) return',
    replace: 'if (!assessment.valid) return',
    tests: ['device-agent/window-flow'],
    breaks: 'a policy learns from answers that were not its own',
  },
  {
    file: 'device-agent/decisions/window-flow.ts',
    find: 'if (budget.spend(purpose, packet)) return true',
    replace: 'budget.spend(purpose, packet); return true',
    tests: ['device-agent/budget', 'device-agent/byte-budget'],
    breaks: 'escalations are sent beyond the budget of bytes',
  },
  {
    file: 'device-agent/decisions/escalations.ts',
    find: 'if (this.pending.get(verdict.id)?.point === point)',
    replace: 'if (this.pending.has(verdict.id))',
    tests: ['device-agent/escalations'],
    breaks: 'the verdict on one point settles a window of another',
  },
  {
    file: 'device-agent/link/byte-budget.ts',
    find: 'touched.some(level => bytes > this.left(level, purpose))',
    replace: "touched.some(level => level === 'total' && bytes > this.left(level, purpose))",
    tests: ['device-agent/byte-budget'],
    breaks: 'raw windows use up what is kept for reports',
  },
  {
    file: 'device-agent/link/byte-budget.ts',
    find: "level === 'total' && purpose !== 'upkeep' ? Math.min(upkeep.bytes, limit * upkeep.share) : 0",
    replace: '0',
    tests: ['device-agent/byte-budget'],
    breaks: 'with an exhausted budget not even the state of a device is published',
  },
  {
    file: 'device-agent/link/byte-budget.ts',
    find: 'const putForward = set > setMs ? Math.ceil(set / bucketMs) : 0',
    replace: 'const putForward = 0',
    tests: ['device-agent/byte-budget'],
    breaks: 'a clock that is put forward grants the budget of a day again',
  },
  {
    file: 'device-agent/spool/spool.ts',
    find: 'while (this.bytes + change.bytes > bytes && this.giveUpOne(group, change));',
    replace: '',
    tests: ['device-agent/spool'],
    breaks: 'the spool grows without a limit',
  },
  {
    file: 'device-agent/spool/spool.ts',
    find: '(value ?? this.thinning.worthOf(topic, notable))',
    replace: '(value ?? 0)',
    tests: ['device-agent/spool'],
    breaks: 'a full spool gives up changes as readily as repetitions',
  },
  {
    file: 'device-agent/spool/outbox.ts',
    find: 'if (overtaken) lanes.live()',
    replace: '',
    tests: ['device-agent/outbox'],
    breaks: 'after an outage what happens now waits behind hours of backlog',
  },
  {
    file: 'device-agent/spool/outbox.ts',
    find: 'if (!unpaid && !this.stopped) this.tried(seq)',
    replace: '',
    tests: ['device-agent/outbox'],
    breaks: 'a message that breaks the connection breaks it for ever',
  },
  {
    file: 'device-agent/updates/updater.ts',
    find: 'damaged >= maxDamaged',
    replace: 'damaged > maxDamaged',
    tests: ['device-agent/updates'],
    breaks: 'a damaged archive is downloaded once more than the guide says',
  },
  {
    file: 'device-agent/updates/updater.ts',
    find: 'if (!signer || !trusted.includes(signer.publicKey))',
    replace: 'if (!signer)',
    tests: ['device-agent/updates'],
    breaks: 'an update that is signed by any key is installed',
  },
  {
    file: 'device-agent/updates/download.ts',
    find: '=== this.options.offer.archive.sha256',
    replace: "!== ''",
    tests: ['device-agent/updates'],
    breaks: 'a damaged archive is unpacked',
  },
  {
    file: 'device-agent/updates/probation.ts',
    find: 'return this.leftMs === 0 && this.windows >= this.terms.windows',
    replace: 'return this.leftMs === 0',
    tests: ['device-agent/updates'],
    breaks: 'a new version stays before it has judged anything',
  },
  {
    file: 'device-agent/reports/reporting.ts',
    find: "|| inference.reason === 'audit'",
    replace: '',
    tests: ['device-agent/reporting'],
    breaks: 'audits are hidden in summaries',
  },

  // Server agent.
  {
    file: 'server-agent/dispatcher.ts',
    find: 'if (batch.length > 1) this.limitFor(model.task).shrink(batch.length)',
    replace: '',
    tests: ['server-agent/dispatcher'],
    breaks: 'batches that ended a worker keep their size: out of memory again and again',
  },
  {
    file: 'server-agent/dispatcher.ts',
    find: "if (leftMs <= 0 || hopeless) this.reject(item, 'expired')",
    replace: "if (hopeless) this.reject(item, 'expired')",
    tests: ['server-agent/dispatcher'],
    breaks: 'windows that have expired are inferred',
  },
  {
    file: 'server-agent/dispatcher.ts',
    find: 'if (item.deaths < maxCrashes) this.backlog.add(item)',
    replace: 'if (true) this.backlog.add(item)',
    tests: ['server-agent/dispatcher'],
    breaks: 'a window that ends workers ends one after the other',
  },
  {
    file: 'server-agent/queue.ts',
    find: 'return inAlarm === other ? a.expiresAt < b.expiresAt : inAlarm',
    replace: 'return a.expiresAt < b.expiresAt',
    tests: ['server-agent/dispatcher'],
    breaks: 'machines in alarm wait behind all others',
  },
  {
    file: 'server-agent/queue.ts',
    find: 'this.items.splice(0, suspect < 0 ? maximum : Math.max(1, suspect))',
    replace: 'this.items.splice(0, maximum)',
    tests: ['server-agent/dispatcher'],
    breaks: 'a window that ended a worker takes others with it again',
  },
  {
    file: 'server-agent/backlog.ts',
    find: 'while (this.items >= maxItems || this.bytes + bytes > maxBytes)',
    replace: 'while (this.items >= maxItems)',
    tests: ['server-agent/dispatcher'],
    breaks: 'no room is made for a large window of a machine in alarm',
  },
  {
    file: 'server-agent/shadow.ts',
    find: ' || busy()) return',
    replace: ') return',
    tests: ['server-agent/shadow'],
    breaks: 'a shadow takes time from windows that wait',
  },
  {
    file: 'server-agent/second-opinions.ts',
    find: 'if (leftMs < 1 || !this.hasRoom(item)',
    replace: 'if (leftMs < 1',
    tests: ['server-agent/second-opinions'],
    breaks: 'windows that wait for a second opinion fill the memory',
  },
  {
    file: 'server-agent/agent.ts',
    find: 'served?.model.digest === verdict.model.digest ? served.classes : undefined',
    replace: 'served?.classes',
    tests: ['server-agent/archive/archiver'],
    breaks: 'the archive labels a window with the classes of another model',
  },

  // Provisioning.
  {
    file: 'provisioning/claims.ts',
    find: 'AND expires_at > ? AND revoked_at IS NULL`',
    replace: 'AND ? IS NOT NULL AND revoked_at IS NULL`',
    tests: ['provisioning/claims'],
    breaks: 'a token claims a certificate after it has expired',
  },
  {
    file: 'provisioning/registry.ts',
    find: 'if (earlier !== null) return sameKey(earlier, keyDigest)',
    replace: '',
    tests: ['provisioning/claims', 'provisioning/registry'],
    breaks: 'two that claim at once with one token both get a certificate',
  },
  {
    file: 'provisioning/registry.ts',
    find: "if (grant.kind === 'claim') endCertificates(database, name, endsAt)",
    replace: '',
    tests: ['provisioning/registry', 'provisioning/claims'],
    breaks: 'certificates that were rotated out stay good',
  },
  {
    file: 'provisioning/certificates.ts',
    find: "if (count > renewalsPerDay) throw refused('renewed too often today')",
    replace: '',
    tests: ['provisioning/est-service', 'provisioning/registry', 'provisioning/claims'],
    breaks: 'one device can fill the registry with certificates',
  },
  {
    file: 'provisioning/est-service.ts',
    find: 'if (!socket.authorized) throw refusal(',
    replace: 'if (false) throw refusal(',
    tests: ['provisioning/est-service'],
    breaks: 'a certificate of another authority is renewed',
  },
  {
    file: 'provisioning/rollover.ts',
    find: "if (!force) await requireNobody(registry, path, 'have not been told of the next authority')",
    replace: '',
    tests: ['provisioning/rollover'],
    breaks: 'a rollover locks devices out that do not know the next authority',
  },
  {
    file: 'provisioning/rollouts/runner.ts',
    find: "if (device.state === 'lost' && state !== 'done') return",
    replace: '',
    tests: ['provisioning/rollouts'],
    breaks: 'a late status revives a lost device: counts are wrong, the rollout hangs',
  },
  {
    file: 'provisioning/rollouts/runner.ts',
    find: 'this.running.get(device.name)?.some(part => digest.startsWith(part))',
    replace: 'true',
    tests: ['provisioning/rollouts'],
    breaks: 'a device counts as updated that runs another version',
  },
  {
    file: 'provisioning/rollouts/runner.ts',
    find: 'return failed.length > maxFailures.count',
    replace: 'return failed.length > maxFailures.count + 1',
    tests: ['provisioning/rollouts'],
    breaks: 'a rollout goes on although more devices have failed than may',
  },
  {
    file: 'provisioning/rollouts/store.ts',
    find: 'for (const name of groups.flat()) checkFree(database, name)',
    replace: '',
    tests: ['provisioning/rollouts'],
    breaks: 'two rollouts take turns on one device',
  },

  // Flows.
  {
    file: 'flows/dashboard/fleet-view.ts',
    find: "if ((message.kind === 'inference' || message.kind === 'summary') && message.payload.backlog) return",
    replace: '',
    tests: ['flows/fleet-view'],
    breaks: 'after an outage the fleet page shows old windows as current',
  },
  {
    file: 'flows/alarms/alarm-rule.ts',
    find: 'if (same.length >= this.options.on.votes)',
    replace: 'if (same.length > this.options.on.votes)',
    tests: ['flows/alarm-rule'],
    breaks: 'an alarm is raised one window late',
  },
  {
    file: 'flows/alarms/alarm-rule.ts',
    find: 'if (revises === undefined && votes.has(id)) return []',
    replace: '',
    tests: ['flows/alarm-rule'],
    breaks: 'a window that is delivered twice counts twice for an alarm',
  },
  {
    file: 'flows/alarms/alarm-rule.ts',
    find: 'if (inference.faults === false || inference.backlog) return []',
    replace: 'if (inference.faults === false) return []',
    tests: ['flows/alarm-rule'],
    breaks: 'what was kept over an outage raises alarms long after',
  },
]
