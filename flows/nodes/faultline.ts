import registerAlarm from './alarm.ts'
import registerBroker from './broker.ts'
import registerEvents from './events.ts'
import registerFleet from './fleet.ts'
import registerMachine from './machine.ts'
import type { NodeRed } from './node-red.ts'

/** Node-RED calls this once, when it loads the palette. */
export default function registerNodes(red: NodeRed): void {
  registerBroker(red)
  registerEvents(red)
  registerAlarm(red)
  registerFleet(red)
  registerMachine(red)
}
