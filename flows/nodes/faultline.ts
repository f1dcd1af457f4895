import registerAlarm from './alarm.ts'
import registerAlarms from './alarms.ts'
import registerBroker from './broker.ts'
import registerCommand from './command.ts'
import registerDecisions from './decisions.ts'
import registerDevices from './devices.ts'
import registerEscalate from './escalate.ts'
import registerEvents from './events.ts'
import registerFleet from './fleet.ts'
import registerMachine from './machine.ts'
import type { NodeRed } from './node-red.ts'
import registerQuery from './query.ts'
import registerStore from './store.ts'
import registerPages from './ui-faultline.ts'

/** Node-RED calls this once, when it loads the palette. */
export default function registerNodes(red: NodeRed): void {
  registerBroker(red)
  registerStore(red)
  registerEvents(red)
  registerAlarm(red)
  registerFleet(red)
  registerMachine(red)
  registerAlarms(red)
  registerDecisions(red)
  registerDevices(red)
  registerCommand(red)
  registerQuery(red)
  registerEscalate(red)
  registerPages(red)
}
