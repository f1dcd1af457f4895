import { type Command, type CommandResult, FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { Tables } from '../spool/storage.ts'

/** Carries a command out and gives its result. May throw: that is the command's failure, not the agent's. */
export type CommandHandler = (
  args: Record<string, unknown>,
) => Record<string, unknown> | Promise<Record<string, unknown>>

type Statement = ReturnType<Tables['prepare']>

const rememberedResults = 1_000

/** How often a command is begun that ends the agent before it has a result. */
const maxBegun = 2

/** What stands in the place of a result while a command has none. */
interface Unfinished {
  unfinished: Command
  begun: number
}

/**
 * Commands by name, each id carried out once: a repeated id gets the result it got before, after a restart too. A command is
 * on the disk before its message is acknowledged: one that a crash has cut off is carried out again, once, and has an error
 * as its result where that ends the agent as well.
 */
export class Commands {
  private readonly handlers: Record<string, CommandHandler>
  private readonly select: Statement
  private readonly insert: Statement
  private readonly forget: Statement
  private readonly next: Statement
  private readonly running = new Map<string, Promise<CommandResult>>()

  constructor(database: Tables, handlers: Record<string, CommandHandler>) {
    this.handlers = handlers
    this.select = database.prepare('SELECT result FROM command_results WHERE id = ?')
    this.insert = database.prepare(
      'INSERT INTO command_results (id, result) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET result = excluded.result',
    )
    this.next = database.prepare(
      `SELECT number, result FROM command_results WHERE result LIKE '{"unfinished":%' AND number > ? ORDER BY number LIMIT 1`,
    )
    this.forget = database.prepare(
      `DELETE FROM command_results WHERE number <= (SELECT max(number) FROM command_results) - ${rememberedResults}`,
    )
  }

  /** The result of a command. The command itself is on the disk when this returns. Rejects only with `DATABASE_FAILED`. */
  async execute(command: Command): Promise<CommandResult> {
    const { id } = command
    const running = this.running.get(id)
    if (running) return running
    const known = this.known(id)
    if (known && !('unfinished' in known)) return known
    return this.begin(command, known ? known.begun + 1 : 1)
  }

  /** The commands that an earlier run of the agent has begun and not finished; each is to be executed again. */
  *unfinished(): Generator<Command> {
    for (let number = 0; ; ) {
      const row = guarded('unknown', () => this.next.get(number)) as { number: number; result: string } | undefined
      if (!row) return
      number = row.number
      const { unfinished } = JSON.parse(row.result) as Unfinished
      if (!this.running.has(unfinished.id)) yield unfinished
    }
  }

  private begin(command: Command, begun: number): Promise<CommandResult> {
    const { id } = command
    if (begun <= maxBegun) {
      const unfinished: Unfinished = { unfinished: command, begun }
      guarded(id, () => this.insert.run(id, JSON.stringify(unfinished)))
    }
    const running = this.carryOut(command, begun <= maxBegun).finally(() => this.running.delete(id))
    this.running.set(id, running)
    return running
  }

  private async carryOut({ id, name, args }: Command, mayBegin: boolean): Promise<CommandResult> {
    const outcome = mayBegin ? await this.call(name, args) : interrupted
    const result: CommandResult = { id, name, at: new Date().toISOString(), ...outcome }
    guarded(id, () => {
      this.insert.run(id, JSON.stringify(result))
      this.forget.run()
    })
    return result
  }

  private known(id: string): CommandResult | Unfinished | undefined {
    const known = guarded(id, () => this.select.get(id)) as { result: string } | undefined
    try {
      return known && (JSON.parse(known.result) as CommandResult | Unfinished)
    } catch (cause) {
      throw new FaultlineError('DATABASE_FAILED', `result of command ${id} is damaged`, { cause })
    }
  }

  private async call(
    name: string,
    args: Record<string, unknown>,
  ): Promise<Pick<CommandResult, 'ok' | 'result' | 'error'>> {
    try {
      const handler = Object.hasOwn(this.handlers, name) ? this.handlers[name] : undefined
      if (!handler) throw new FaultlineError('COMMAND_UNKNOWN', `there is no command "${name}"`)
      return { ok: true, result: await handler(args) }
    } catch (thrown) {
      const { code, message } = toFaultlineError(thrown)
      return { ok: false, error: { code, message } }
    }
  }
}

const interrupted = {
  ok: false,
  error: { code: 'COMMAND_INTERRUPTED', message: `the agent ended ${maxBegun} times while it carried this out` },
} as const

function guarded<T>(id: string, work: () => T): T {
  try {
    return work()
  } catch (cause) {
    throw new FaultlineError('DATABASE_FAILED', `result of command ${id}: ${(cause as Error).message}`, { cause })
  }
}
