'use strict';
const textOf = cell => [...cell.childNodes].map(node => node.textContent).join(' ').replace(/\s+/g, ' ').trim();
// Round numbers between two ends, about six of them.
const ticksIn = ([from, to]) => {
  const decade = 10 ** Math.floor(Math.log10((to - from) / 6));
  const step = [1, 2, 5, 10].map(factor => factor * decade).find(step => step * 6 >= to - from);
  const ticks = [];
  for (let at = Math.ceil(from / step); at * step <= to; at++) ticks.push(+(at * step).toPrecision(10));
  return ticks;
};
// The table beside a chart is its data: the cursor shows the nearest row.
const charts = [...document.querySelectorAll('figure')].map(figure => {
  const svg = figure.querySelector('svg.chart');
  const rows = [...figure.querySelectorAll('tbody tr[data-x]')];
  if (!svg || !rows.length) return null;
  const { log, low, high } = svg.dataset;
  const [left, right, top, foot] = ['left', 'right', 'top', 'foot'].map(name => +svg.dataset[name]);
  const heads = [...figure.querySelectorAll('thead th')].map(textOf);
  const readout = figure.querySelector('.readout');
  const plot = svg.querySelector('.plot');
  const ticks = svg.querySelector('.ticks');
  const allTicks = ticks.innerHTML;
  const line = svg.appendChild(document.createElementNS('http://www.w3.org/2000/svg', 'path'));
  line.setAttribute('class', 'cursor');
  const scale = log ? Math.log : x => x;
  const values = rows.map(row => scale(Math.max(+row.dataset.x, log ? +low : -Infinity)));
  const whole = [scale(+low), scale(+high)];
  let view = whole;
  const placeOf = value => left + (value - view[0]) / (view[1] - view[0]) * (right - left);
  const chart = { group: figure.dataset.group, svg, canZoom: !!plot, width: () => view[1] - view[0] };
  chart.valueAt = clientX => {
    const box = svg.getBoundingClientRect();
    const x = (clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    return view[0] + Math.min(Math.max((x - left) / (right - left), 0), 1) * (view[1] - view[0]);
  };
  chart.show = (value, start) => {
    const best = values.reduce((best, other, at) => Math.abs(other - value) < Math.abs(values[best] - value) ? at : best, 0);
    const at = placeOf(start === undefined ? values[best] : value);
    const from = start === undefined ? '' : `V${foot}H${placeOf(start)}V${top}Z`;
    line.setAttribute('d', at < left - 1 || at > right + 1 ? '' : `M${at} ${top}${from || `V${foot}`}`);
    const cells = [...rows[best].cells].map((cell, i) => [heads[i], textOf(cell)]);
    readout.textContent = cells.filter(cell => cell[1]).map(cell => cell.join(' ')).join(' · ');
  };
  chart.hide = () => {
    line.removeAttribute('d');
    readout.textContent = '';
  };
  // Without a range, the whole run again.
  chart.zoom = range => {
    const [from, to] = (range || whole).map(value => left + (value - whole[0]) / (whole[1] - whole[0]) * (right - left));
    const box = plot.viewBox.baseVal;
    plot.setAttribute('viewBox', `${from} 0 ${to - from} ${box.height}`);
    view = range || whole;
    ticks.innerHTML = range ? ticksIn(view).map(at => `<path class="grid" d="M${placeOf(at)} ${foot}v5"/>
      <text class="m" x="${placeOf(at)}" y="${foot + 18}">${at}</text>`).join('') : allTicks;
    svg.querySelectorAll('[data-at]').forEach(label => {
      const at = placeOf(+label.dataset.at);
      label.setAttribute('x', at + (label.classList.contains('e') ? -4 : 4));
      label.toggleAttribute('hidden', at < left || at > right);
    });
  };
  return chart;
}).filter(Boolean);
for (const chart of charts) {
  const linked = charts.filter(other => other === chart || (chart.group && other.group === chart.group));
  const each = act => linked.forEach(act);
  let start;
  chart.svg.addEventListener('pointermove', event => {
    const value = chart.valueAt(event.clientX);
    each(other => other.show(value, start));
  });
  chart.svg.addEventListener('pointerleave', () => each(other => other.hide()));
  if (!chart.canZoom) continue;
  chart.svg.addEventListener('pointerdown', event => {
    if (event.button) return;
    start = chart.valueAt(event.clientX);
    chart.svg.setPointerCapture(event.pointerId);
  });
  chart.svg.addEventListener('pointerup', event => {
    const range = [start, chart.valueAt(event.clientX)].sort((a, b) => a - b);
    start = undefined;
    if (range[1] - range[0] > chart.width() / 50) each(other => other.zoom(range));
  });
  chart.svg.addEventListener('pointercancel', () => { start = undefined; });
  chart.svg.addEventListener('dblclick', () => each(other => other.zoom()));
}
const timeNote = document.querySelector('#time .note');
if (timeNote) {
  const hint = document.createElement('p');
  hint.className = 'readout';
  hint.textContent = 'Drag across a chart to zoom all of them, double-click for the whole run.';
  timeNote.after(hint);
}

const cellsOf = table => [...table.rows].map(row => [...row.cells].map(textOf));
const forms = {
  CSV: rows => rows.map(row => row.map(cell => {
    const safe = /^[=+\-@]/.test(cell) && isNaN(cell) ? `'${cell}` : cell;
    return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }).join(',')).join('\n'),
  Markdown: rows => rows.flatMap((row, at) => {
    const line = `| ${row.map(cell => cell.replace(/[\\|`*<]/g, '\\$&')).join(' | ')} |`;
    return at ? [line] : [line, `|${'---|'.repeat(row.length)}`];
  }).join('\n'),
};
const copy = async text => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.body.appendChild(document.createElement('textarea'));
    area.value = text;
    area.select();
    document.execCommand('copy');
    area.remove();
  }
};
for (const table of document.querySelectorAll('table')) {
  const place = table.closest('.wide') || table;
  for (const form of Object.keys(forms).reverse()) {
    const button = document.createElement('button');
    button.textContent = `Copy ${form}`;
    button.addEventListener('click', () => copy(forms[form](cellsOf(table)) + '\n').then(() => { button.textContent = 'Copied'; }));
    place.after(button);
  }
}
