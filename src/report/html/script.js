'use strict';
// The table beside a chart is its data: the cursor shows the nearest row.
const charts = [...document.querySelectorAll('figure')].map(figure => {
  const svg = figure.querySelector('svg.chart');
  const rows = [...figure.querySelectorAll('tbody tr[data-x]')];
  if (!svg || !rows.length) return null;
  const { low, high, log, left, right, top, foot } = svg.dataset;
  const heads = [...figure.querySelectorAll('thead th')].map(head => head.textContent);
  const line = svg.appendChild(document.createElementNS('http://www.w3.org/2000/svg', 'path'));
  line.setAttribute('class', 'cursor');
  const scale = log ? Math.log : x => x;
  const chart = { group: figure.dataset.group, svg };
  chart.valueAt = clientX => {
    const box = svg.getBoundingClientRect();
    const share = ((clientX - box.left) / box.width * svg.viewBox.baseVal.width - left) / (right - left);
    return scale(+low) + share * (scale(+high) - scale(+low));
  };
  chart.show = value => {
    let best = 0;
    let least = Infinity;
    rows.forEach((row, at) => {
      const distance = Math.abs(scale(Math.max(+row.dataset.x, +low)) - value);
      if (distance < least) { best = at; least = distance; }
    });
    const at = (scale(Math.max(+rows[best].dataset.x, +low)) - scale(+low)) / (scale(+high) - scale(+low));
    const x = +left + at * (right - left);
    line.setAttribute('d', `M${x} ${top}V${foot}`);
    const cells = [...rows[best].cells].map((cell, i) => [heads[i], cell.textContent.trim()]);
    figure.querySelector('.readout').textContent = cells.filter(cell => cell[1]).map(cell => cell.join(' ')).join(' · ');
  };
  chart.hide = () => {
    line.removeAttribute('d');
    figure.querySelector('.readout').textContent = '';
  };
  return chart;
}).filter(Boolean);
for (const chart of charts) {
  const linked = charts.filter(other => other === chart || (chart.group && other.group === chart.group));
  chart.svg.addEventListener('pointermove', event => {
    const value = chart.valueAt(event.clientX);
    linked.forEach(other => other.show(value));
  });
  chart.svg.addEventListener('pointerleave', () => linked.forEach(other => other.hide()));
}

const cellsOf = table => [...table.rows].map(row => [...row.cells].map(cell => cell.innerText.replace(/\s+/g, ' ').trim()));
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
