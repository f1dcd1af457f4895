import { type Command, type CommandResult, FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { Tables } from '../spool/storage.ts'

/** Carries a command out and gives its result. May throw: that is the command's failure, not the agent's. */
export type CommandHandler = (
  args: Record<string, unknown>,
) => Record<string, unknown> | Promise<Record<string, unknown>>

type Statement = ReturnType<Tables['prepare']>

const rememberedResults = 1_000

/** Commands by name, each id carried out once: a repeated id gets the result it got before, after a restart too. */
export class Commands {
  private readonly handlers: Record<string, CommandHandler>
  private readonly select: Statement
  private readonly insert: Statement
  private readonly forget: Statement
  private readonly running = new Map<string, Promise<CommandResult>>()

  constructor(database: Tables, handlers: Record<string, CommandHandler>) {
    this.handlers = handlers
    this.select = database.prepare('SELECT result FROM command_results WHERE id = ?')
    this.insert = database.prepare('INSERT INTO command_results (id, result) VALUES (?, ?)')
    this.forget = database.prepare(
      `DELETE FROM command_results WHERE number <= (SELECT max(number) FROM command_results) - ${rememberedResults}`,
    )
  }

  /** The result of a command. Rejects only with `DATABASE_FAILED`. */
  async execute(command: Command): Promise<CommandResult> {
    const known = this.known(command.id)
    if (known) return known
    const running = this.running.get(command.id) ?? this.carryOut(command)
    this.running.set(command.id, running)
    return running.finally(() => this.running.delete(command.id))
  }

  private async carryOut({ id, name, args }: Command): Promise<CommandResult> {
    const outcome = await this.call(name, args)
    const result: CommandResult = { id, name, at: new Date().toISOString(), ...outcome }
    guarded(id, () => {
      this.insert.run(id, JSON.stringify(result))
      this.forget.run()
    })
    return result
  }

  private known(id: string): CommandResult | undefined {
    const known = guarded(id, () => this.select.get(id)) as { result: string } | undefined
    try {
      return known && (JSON.parse(known.result) as CommandResult)
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

function guarded<T>(id: string, work: () => T): T {
  try {
    return work()
  } catch (cause) {
    throw new FaultlineError('DATABASE_FAILED', `result of command ${id}: ${(cause as Error).message}`, { cause })
  }
}
