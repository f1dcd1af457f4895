import { readFileSync } from 'node:fs'

/** The kernel counts in ticks of 10 ms. */
const msPerTick = 10

/** Time a process has spent on a processor, in ms; undefined where the system does not show it (other than Linux). */
export function processorMs(pid: number): number | undefined {
  try {
    // Fields 14 and 15 of proc_pid_stat(5): user and system time; the name before them may hold spaces.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
    return (Number(fields[11]) + Number(fields[12])) * msPerTick
  } catch {
    return undefined
  }
}

/** Children of a process whose command line holds a text. */
export function childrenOf(pid: number, running: string): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number)
    return children.filter(child => readFileSync(`/proc/${child}/cmdline`, 'utf8').includes(running))
  } catch {
    return []
  }
}
