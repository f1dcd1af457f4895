import type { Component } from 'vue'
import AlarmsPage from './AlarmsPage.vue'
import DecisionsPage from './DecisionsPage.vue'
import DevicesPage from './DevicesPage.vue'
import { addressed } from './dom.ts'
import FleetPage from './FleetPage.vue'
import MachinePage from './MachinePage.vue'
import type { AskedLook } from './page-model.ts'

/** A page of the dashboard. Its component shows what its node sends, as `view`. */
interface Page {
  component: Component
  title: string
  look: AskedLook
}

const list: AskedLook = { find: '', show: '', site: '', sort: '', descending: false, from: 0, rows: 50 }

/** The page that a widget shows, by the name that is set in the flow, as the page's address asks for it. */
export function pageNamed(name: string): Page {
  const look = { ...list, open: addressed('open') }
  switch (name) {
    case 'alarms':
      return { component: AlarmsPage, title: 'Alarms', look }
    case 'decisions':
      return { component: DecisionsPage, title: 'Decisions', look }
    case 'devices':
      return { component: DevicesPage, title: 'Devices', look }
    case 'machine': {
      const [site, machine] = [addressed('site'), addressed('machine')]
      return {
        component: MachinePage,
        title: machine || 'No machine chosen',
        look: { open: `${site}/${machine}`, show: '' },
      }
    }
    default:
      return { component: FleetPage, title: 'Fleet', look: list }
  }
}
