/** The page of one device: it follows the agent's events and draws what they say. It has no controls but the choice of a point. */

const WIDTH = 1000
const names = { bpfo: 'BPFO, outer race', bpfi: 'BPFI, inner race', bsf: '2 × BSF, ball', ftf: 'FTF, cage' }
const deciders = {
  local: 'device',
  server: 'server',
  'local-fallback': 'device, no verdict',
  episode: 'server, episode',
}
/** Numbers of a decision worth a line, in this order. */
const shownNumbers = {
  score: 'confidence',
  threshold: 'threshold',
  right: 'right with probability',
  expectedCost: 'expected cost',
  bound: 'accuracy at least',
  margin: 'margin',
  entropy: 'entropy',
  value: 'value',
  limit: 'limit',
  price: 'price',
}

const byId = id => document.getElementById(id)
const words = text => text.charAt(0).toUpperCase() + text.slice(1).replaceAll('-', ' ')
const percent = share =>
  share === null || share === undefined ? '–' : `${(share * 100).toFixed(share > 0.995 ? 0 : 1)} %`
const time = at => new Date(at).toLocaleTimeString('en-GB')
const short = value => (value === undefined ? '–' : Number(value.toPrecision(3)).toString())

function size(bytes) {
  const unit = Math.min(4, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)))
  return `${Number((bytes / 1000 ** unit).toPrecision(3))} ${['B', 'kB', 'MB', 'GB', 'TB'][unit]}`
}

function duration(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`
}

function element(name, text, attributes = {}) {
  const made = document.createElement(name)
  made.textContent = text
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  return made
}

function shape(name, attributes) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  return made
}

/** Values from left to right between `low` and `high`; `cursors` stand at shares of the width. */
function draw(id, values, low, high, cursors = []) {
  const svg = byId(id)
  const height = svg.viewBox.baseVal.height
  const y = value => (height - ((value - low) / (high - low || 1)) * height).toFixed(1)
  const step = WIDTH / Math.max(1, values.length - 1)
  const path = values.map((value, i) => `${i === 0 ? 'M' : 'L'}${(i * step).toFixed(1)} ${y(value)}`).join('')
  const base = shape('line', { x1: 0, x2: WIDTH, y1: y(Math.max(0, low)), y2: y(Math.max(0, low)) })
  const lines = cursors.map(({ name, at }) =>
    shape('line', { class: `cursor ${name}`, x1: at * WIDTH, x2: at * WIDTH, y1: 0, y2: height }),
  )
  svg.replaceChildren(base, ...lines, shape('path', { d: path }))
}

function axis(id, ...texts) {
  byId(id).replaceChildren(...texts.map(text => element('span', text)))
}

function drawSpectrum(id, line, cursors = []) {
  const highest = line.stepHz * (line.values.length - 1)
  const peak = line.values.reduce((best, value, i) => (value > line.values[best] ? i : best), 0)
  draw(
    id,
    line.values,
    0,
    line.values[peak],
    cursors.map(({ name, hz }) => ({ name, at: hz / highest })),
  )
  byId(`${id}-note`).textContent = `highest at ${(peak * line.stepHz).toFixed(1)} Hz`
  axis(`${id}-axis`, '0 Hz', `${Math.round(highest / 2)} Hz`, `${Math.round(highest)} Hz`)
}

function showSignal({ waveform, spectrum, envelope, cursors, rateHz, shaftHz, at }) {
  if (!waveform) {
    byId('waveform-note').textContent = 'no window yet'
    return
  }
  const peak = waveform.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  draw('waveform', waveform, -peak, peak)
  const turning = shaftHz === undefined ? 'shaft speed unknown' : `shaft ${(shaftHz * 60).toFixed(0)} rpm`
  byId('waveform-note').textContent = `±${short(peak)} g · ${rateHz} Hz · ${turning} · ${time(at)}`
  axis('waveform-axis', '0 ms', `${((waveform.length / rateHz) * 1000).toFixed(0)} ms`)
  drawSpectrum('spectrum', spectrum)
  drawSpectrum('envelope', envelope, cursors)
  const firsts = cursors.filter(({ harmonic }) => harmonic === 1)
  byId('cursors').replaceChildren(
    ...(firsts.length > 0
      ? firsts.map(({ name, hz }) =>
          element('span', `┆ ${names[name]} ${hz.toFixed(1)} Hz and harmonics`, { class: name }),
        )
      : [element('small', 'Defect frequencies are shown where shaft speed and bearing are known.')]),
  )
}

function because({ reason, numbers = {} }) {
  const known = Object.entries(shownNumbers).flatMap(([name, said]) =>
    name in numbers ? `${said} ${short(numbers[name])}` : [],
  )
  return [words(reason), ...known].join(' · ')
}

function isFault({ label, faults }) {
  return faults !== false && label !== 'normal' && label !== 'unknown'
}

function showDecisions(decisions) {
  const [newest] = decisions
  if (newest) {
    byId('label').textContent = `${words(newest.label)} ${percent(newest.confidence)}`
    byId('label').className = isFault(newest) ? 'fault' : ''
    byId('why').textContent = `by the ${deciders[newest.decidedBy]} · ${because(newest)}`
  }
  byId('decisions').replaceChildren(
    ...decisions.map(decision => {
      const row = document.createElement('tr')
      const { features } = decision
      row.append(
        element('td', time(decision.at)),
        element(
          'td',
          `${words(decision.label)} ${percent(decision.confidence)}`,
          isFault(decision) ? { class: 'fault' } : {},
        ),
        element('td', deciders[decision.decidedBy]),
        element('td', words(decision.outcome)),
        element('td', because(decision)),
        element('td', short(features.rms), { class: 'right' }),
        element('td', short(features.kurtosis), { class: 'right' }),
        element('td', `${Math.round(decision.latencyMs)} ms`, { class: 'right' }),
      )
      return row
    }),
  )
}

function showDevice({ site, device, online, model, health, configuration, problems, points }, chosen) {
  document.title = `${device} · Faultline`
  byId('device').textContent = device
  byId('about').textContent = `${site} · ${model.name} ${model.version} on ${model.engine}`
  byId('link').textContent = online ? 'Connected to the broker' : 'No connection to the broker'
  byId('link').className = `chip ${online ? 'good' : 'bad'}`
  byId('problems').hidden = problems.length === 0
  byId('problems').replaceChildren(
    ...problems.map(({ code, message, since }) => element('li', `${code}: ${message} (since ${time(since)})`)),
  )
  byId('points').replaceChildren(
    ...points.map(({ point, machine, label }) =>
      element('a', `${machine} / ${point}${label ? ` · ${words(label)}` : ''}`, {
        href: `?point=${encodeURIComponent(point)}`,
        ...(point === chosen && { 'aria-current': 'page' }),
      }),
    ),
  )
  if (!health) return
  const { counters, queues, roundTripMs, bytes } = health
  const figures = {
    Windows: `${counters.windows}`,
    'Accepted here': percent(counters.windows ? counters.accepted / counters.windows : undefined),
    'Round trip': roundTripMs ? `${roundTripMs.median.toFixed(1)} ms (95 %: ${roundTripMs.p95.toFixed(1)})` : '–',
    Waiting: `${queues.spool} messages, ${queues.pending} verdicts`,
    Sent: size(bytes.sent),
    'Of it windows': size(bytes.escalations),
    Policy: words(configuration?.config.policy?.name ?? '–'),
    'Running for': duration(health.uptimeS),
    Memory: size(health.memoryBytes),
    ...(health.temperatureC !== undefined && { Processor: `${health.temperatureC} °C` }),
  }
  byId('figures').replaceChildren(
    ...Object.entries(figures).map(([name, value]) => {
      const pair = document.createElement('div')
      pair.append(element('dt', name), element('dd', value))
      return pair
    }),
  )
}

const asked = new URLSearchParams(location.search).get('point')
const events = new EventSource(asked === null ? 'events' : `events?point=${encodeURIComponent(asked)}`)
events.onmessage = ({ data }) => {
  const { device, point } = JSON.parse(data)
  showDevice(device, point.point)
  showSignal(point)
  showDecisions(point.decisions)
}
events.onerror = () => {
  byId('link').textContent = 'The agent does not answer'
  byId('link').className = 'chip bad'
}
