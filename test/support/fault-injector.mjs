// Loaded with --import before a program of this repository. While it is on, a share of the calls that write or read stores
// throw, as a full disk, a lock of another process, a damaged page or a dying disk has them throw. It is on while there is a file
// `on` in FAULT_CONTROL, also in worker threads, and adds a byte to the file `thrown` there for each call that threw.
import fs from 'node:fs'
import { createRequire, syncBuiltinESMExports } from 'node:module'
import { join, resolve } from 'node:path'
import { DatabaseSync, StatementSync } from 'node:sqlite'
import workerThreads from 'node:worker_threads'

const { FAULT_SEED, FAULT_RATE, FAULT_DIRECTORY, FAULT_CONTROL, FAULT_REDIS } = process.env
const directory = resolve(FAULT_DIRECTORY)
const rate = Number(FAULT_RATE)
const { appendFileSync, existsSync } = fs
const onFile = join(FAULT_CONTROL, 'on')
const thrownFile = join(FAULT_CONTROL, 'thrown')
const count = () => appendFileSync(thrownFile, '.')
let state = Number(FAULT_SEED)

/** Mulberry32. */
function random() {
  state = (state + 0x6d2b79f5) | 0
  let t = Math.imul(state ^ (state >>> 15), 1 | state)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
}

const oneOf = list => list[Math.floor(random() * list.length)]
const isDue = () => existsSync(onFile) && random() < rate

const sqliteErrors = [
  [5, 'database is locked'],
  [10, 'disk I/O error'],
  [11, 'database disk image is malformed'],
  [13, 'database or disk is full'],
]

function sqliteError() {
  const [errcode, errstr] = oneOf(sqliteErrors)
  count()
  return Object.assign(new Error(`${errstr} (injected)`), { code: 'ERR_SQLITE_ERROR', errcode, errstr })
}

function systemError(syscall) {
  const [code, errno, text] = oneOf([
    ['ENOSPC', -28, 'no space left on device'],
    ['EIO', -5, 'i/o error'],
  ])
  count()
  return Object.assign(new Error(`${code}: ${text}, ${syscall} (injected)`), { code, errno, syscall })
}

/** `fails` gives the error of a call that is to fail, from its arguments and its object. */
function wrap(object, name, fails) {
  const original = object[name]
  object[name] = function (...args) {
    const error = fails(args, this)
    if (error) throw error
    return original.apply(this, args)
  }
}

// A database in memory has no disk that could fail.
const inMemory = new WeakSet()
const prepare = DatabaseSync.prototype.prepare
DatabaseSync.prototype.prepare = function (...args) {
  const statement = prepare.apply(this, args)
  if (this.location() === null) inMemory.add(statement)
  return statement
}
const sqlite = ([text], database) => {
  if (database.location() === null) return undefined
  // A database rolls back whatever its disk does: what was not committed is only forgotten.
  if (typeof text === 'string' && /^\s*ROLLBACK/i.test(text)) return undefined
  return isDue() ? sqliteError() : undefined
}
wrap(DatabaseSync.prototype, 'exec', sqlite)
for (const name of ['run', 'get', 'all', 'iterate']) {
  wrap(StatementSync.prototype, name, (_, statement) =>
    !inMemory.has(statement) && isDue() ? sqliteError() : undefined,
  )
}

const isOurs = path => typeof path === 'string' && resolve(path).startsWith(directory)
const ours = new Set()
const byPath =
  syscall =>
  ([path]) =>
    isOurs(path) && isDue() ? systemError(syscall) : undefined
const byDescriptor =
  syscall =>
  ([descriptor]) =>
    ours.has(descriptor) && isDue() ? systemError(syscall) : undefined

for (const name of ['renameSync', 'writeFileSync', 'appendFileSync', 'mkdirSync']) wrap(fs, name, byPath(name))
for (const name of ['writeSync', 'fsyncSync', 'fdatasyncSync', 'ftruncateSync', 'futimesSync'])
  wrap(fs, name, byDescriptor(name))
const openSync = fs.openSync
fs.openSync = (path, ...rest) => {
  const error = byPath('open')([path])
  if (error) throw error
  const descriptor = openSync(path, ...rest)
  if (isOurs(path)) ours.add(descriptor)
  else ours.delete(descriptor)
  return descriptor
}
for (const name of ['rename', 'writeFile', 'appendFile', 'mkdir']) {
  const original = fs.promises[name]
  fs.promises[name] = async (...args) => {
    const error = byPath(name)(args)
    if (error) throw error
    return original(...args)
  }
}
const open = fs.promises.open
fs.promises.open = async (path, ...rest) => {
  const error = byPath('open')([path])
  if (error) throw error
  const handle = await open(path, ...rest)
  if (isOurs(path)) {
    for (const name of ['write', 'writeFile', 'appendFile', 'sync', 'datasync', 'truncate']) {
      const original = handle[name].bind(handle)
      handle[name] = async (...args) => {
        if (isDue()) throw systemError(name)
        return original(...args)
      }
    }
  }
  return handle
}
// Threads that name their own flags would begin without this file.
const { Worker } = workerThreads
workerThreads.Worker = class extends Worker {
  constructor(file, options = {}) {
    super(file, { ...options, execArgv: ['--import', import.meta.filename, ...(options.execArgv ?? process.execArgv)] })
  }
}
syncBuiltinESMExports()

if (FAULT_REDIS) {
  const { Redis } = createRequire(join(import.meta.dirname, '..', '..', 'broker', 'index.ts'))('ioredis')
  const sendCommand = Redis.prototype.sendCommand
  Redis.prototype.sendCommand = function (command, ...rest) {
    if (isDue()) {
      count()
      command.reject(Object.assign(new Error('READONLY injected'), { name: 'ReplyError' }))
      return command.promise
    }
    return sendCommand.call(this, command, ...rest)
  }
}
