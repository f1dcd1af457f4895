import type { PriceList } from '@faultline/protocol'

/** A press on LTE, with a cable for the days it is near one. Figures that are easy to reckon with. */
export const priceList: PriceList = {
  currency: 'EUR',
  missedFaultCost: 2,
  falseAlarmCost: 0.5,
  serverSecondCost: 0.01,
  energyCostPerKWh: 0.36,
  link: 'lte',
  links: {
    lte: { tariffPerMB: 10, joulesPerByte: 0.001, metered: true, interface: 'wwan0' },
    cable: { tariffPerMB: 0, joulesPerByte: 0, metered: false, interface: 'eth0' },
  },
  followServers: true,
  battery: { below: 0.5, factorWhenEmpty: 5 },
}
