'use strict';
// Rows are [[due, sent, first, last, done], prompt tokens, output tokens, failure, stretches], a stretch is
// [band, end, gaps, longest gap]; all times in microseconds since the run began.
const data = JSON.parse(document.getElementById('data').textContent);
const canvas = document.getElementById('canvas');
const tip = document.getElementById('tip');
const thinned = document.getElementById('thinned');
const pen = canvas.getContext('2d');
const LEFT = 64, BOTTOM = 26;
const end = Math.max(data.end, 1), count = Math.max(data.rows.length, 1);
const whole = () => ({ from: 0, to: end, top: 0, bottom: count });
let view = whole();

const width = () => Math.max(canvas.clientWidth - LEFT, 1);
const height = () => Math.max(canvas.clientHeight - BOTTOM, 1);
const x = time => LEFT + (time - view.from) / (view.to - view.from) * width();
const y = row => (row - view.top) / (view.bottom - view.top) * height();
const timeAt = px => view.from + (px - LEFT) / width() * (view.to - view.from);
const rowAt = py => view.top + py / height() * (view.bottom - view.top);

// With more rows than pixels only every so many-th is drawn.
const step = () => Math.max(1, Math.ceil((view.bottom - view.top) / height()));

function text(micros) {
  const ms = micros / 1000;
  if (ms >= 10000) return (ms / 1000).toFixed(2) + ' s';
  return ms >= 100 ? ms.toFixed(0) + ' ms' : ms.toFixed(ms >= 1 ? 1 : 3) + ' ms';
}

// What a row is made of, as [from, to, colour]. What is worse comes later and so covers its neighbours in one pixel.
function spans([[due, sent, first, last, done], , , failure, stretches], colour) {
  const found = [[due, sent ?? done ?? due, colour.wait]];
  if (sent !== null) found.push([sent, first ?? done ?? sent, first === null && failure ? colour.failed : colour.ttft]);
  const gaps = [];
  let from = first;
  for (const [band, to] of stretches) {
    gaps.push([from, to, data.colours[band], band]);
    from = to;
  }
  found.push(...gaps.sort((a, b) => a[3] - b[3]));
  if (failure && first !== null) found.push([last, done ?? last, colour.failed]);
  return found;
}

function draw() {
  const scale = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * scale;
  canvas.height = canvas.clientHeight * scale;
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  const style = getComputedStyle(document.documentElement);
  const colour = {};
  for (const name of ['ink', 'faint', 'line', 'wait', 'ttft', 'failed', 'paper']) colour[name] = style.getPropertyValue('--' + name).trim();
  axes(colour);
  pen.save();
  pen.beginPath();
  pen.rect(LEFT, 0, width(), height());
  pen.clip();
  const every = step();
  const thick = Math.max(1, y(view.top + every) - (every > 1 || y(view.top + 1) < 4 ? 0 : 1));
  for (let row = Math.floor(view.top / every) * every; row < Math.min(view.bottom, data.rows.length); row += every) {
    for (const [from, to, fill] of spans(data.rows[row], colour)) {
      if (to < view.from || from > view.to || to <= from) continue;
      pen.fillStyle = fill;
      pen.fillRect(x(from), y(row), Math.max(x(to) - x(from), 0.8), thick);
    }
  }
  pen.restore();
  thinned.textContent = every > 1 ? ` There are more requests than pixels: one in ${every} is drawn; zoom in for the others.` : '';
}

// A round step that leaves room for the labels.
function roundStep(span, most) {
  const rough = Math.max(span / most, 1), power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map(factor => factor * power).find(candidate => candidate >= rough);
}

function axes(colour) {
  pen.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  pen.font = '11px system-ui, sans-serif';
  pen.fillStyle = colour.faint;
  pen.strokeStyle = colour.line;
  pen.lineWidth = 1;
  pen.beginPath();
  pen.textAlign = 'center';
  const tick = roundStep(view.to - view.from, width() / 90);
  const unit = tick >= 100000 ? [1e6, ' s'] : [1e3, ' ms'];
  const digits = Math.max(0, Math.ceil(-Math.log10(tick / unit[0])));
  for (let at = Math.ceil(view.from / tick) * tick; at <= view.to; at += tick) {
    pen.moveTo(x(at), 0);
    pen.lineTo(x(at), height());
    pen.fillText((at / unit[0]).toFixed(digits) + unit[1], Math.min(x(at), LEFT + width() - 18), height() + 17);
  }
  pen.textAlign = 'right';
  const rows = roundStep(view.bottom - view.top, height() / 28);
  for (let row = Math.ceil(view.top / rows) * rows; row < view.bottom; row += rows) {
    pen.fillText(String(row), LEFT - 8, y(row) + Math.min(11, y(row + 1) - y(row) + 7));
  }
  pen.stroke();
}

function describe(row, time) {
  const [[due, sent, first, last, done], prompt, output, failure, stretches] = data.rows[row];
  const lines = [`Request ${row}: ${prompt} prompt tokens, ${output} output tokens`];
  const since = (label, from, to) => { if (from !== null && to !== null) lines.push(`${label}: ${text(to - from)}`); };
  lines.push(`due at ${text(due)}` + (sent === null ? ', never sent' : `, sent at ${text(sent)}`));
  since('lag', due, sent);
  since('TTFT', sent, first);
  since('E2E', sent, last);
  if (last !== null) lines.push(`last token at ${text(last)}`);
  if (failure) lines.push(`FAILED at ${text(done ?? due)}: ${failure}`);
  let from = first;
  for (const [, to, gaps, longest] of stretches) {
    if (from <= time && time < to) lines.push(`here: ${gaps} ${gaps === 1 ? 'gap' : 'gaps'} in ${text(to - from)}, the longest ${text(longest)}`);
    from = to;
  }
  return lines.join('\n');
}

function hover(event) {
  const row = Math.floor(Math.floor(rowAt(event.offsetY)) / step()) * step();
  const inside = event.offsetX >= LEFT && event.offsetY < height() && row >= 0 && row < data.rows.length;
  tip.style.display = inside ? 'block' : 'none';
  if (!inside) return;
  tip.textContent = describe(row, timeAt(event.offsetX));
  const right = event.offsetX + 16 + tip.offsetWidth > canvas.clientWidth;
  const below = event.offsetY + 16 + tip.offsetHeight > canvas.clientHeight;
  tip.style.left = Math.max(0, right ? event.offsetX - 12 - tip.offsetWidth : event.offsetX + 16) + 'px';
  tip.style.top = Math.max(0, below ? event.offsetY - 12 - tip.offsetHeight : event.offsetY + 16) + 'px';
}

// A stretch of at least `least` within 0 and `limit`.
function within(from, to, least, limit) {
  const span = Math.min(Math.max(to - from, least), limit);
  const start = Math.min(Math.max(from, 0), limit - span);
  return [start, start + span];
}

function look(from, to, top, bottom) {
  [view.from, view.to] = within(from, to, Math.min(100, end), end);
  [view.top, view.bottom] = within(top, bottom, Math.min(3, count), count);
  draw();
}

const zoomTime = (factor, at) => look(at - (at - view.from) * factor, at + (view.to - at) * factor, view.top, view.bottom);
const zoomRows = (factor, at) => look(view.from, view.to, at - (at - view.top) * factor, at + (view.bottom - at) * factor);
const move = (time, rows) => look(view.from + time, view.from + time + (view.to - view.from), view.top + rows, view.top + rows + (view.bottom - view.top));

canvas.addEventListener('wheel', event => {
  event.preventDefault();
  // With Shift some browsers turn the wheel sideways.
  const factor = Math.exp(Math.max(-1, Math.min(1, (event.deltaY || event.deltaX) / 300)));
  if (event.shiftKey) zoomRows(factor, rowAt(event.offsetY)); else zoomTime(factor, timeAt(event.offsetX));
  hover(event);
}, { passive: false });

let held = null;
canvas.addEventListener('pointerdown', event => { held = [event.offsetX, event.offsetY]; canvas.setPointerCapture(event.pointerId); });
canvas.addEventListener('pointerup', () => { held = null; });
canvas.addEventListener('pointerleave', () => { tip.style.display = 'none'; });
canvas.addEventListener('dblclick', () => { view = whole(); draw(); });
canvas.addEventListener('pointermove', event => {
  if (held) {
    const time = timeAt(held[0]) - timeAt(event.offsetX), rows = rowAt(held[1]) - rowAt(event.offsetY);
    held = [event.offsetX, event.offsetY];
    move(time, rows);
  }
  hover(event);
});
canvas.addEventListener('keydown', event => {
  const time = (view.to - view.from) / 10, rows = (view.bottom - view.top) / 10;
  const actions = {
    ArrowLeft: () => move(-time, 0), ArrowRight: () => move(time, 0), ArrowUp: () => move(0, -rows), ArrowDown: () => move(0, rows),
    '+': () => zoomTime(0.8, (view.from + view.to) / 2), '-': () => zoomTime(1.25, (view.from + view.to) / 2),
    0: () => { view = whole(); draw(); },
  };
  if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
});
window.addEventListener('resize', draw);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
draw();
