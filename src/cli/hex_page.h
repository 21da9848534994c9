// The page of `apr hex --html`: style and script. The data come as JSON in a script element; all text from the file is
// put into the page by textContent, never as markup.
#pragma once
#include <string_view>

namespace apr::cli {

inline constexpr std::string_view kPageStyle = R"CSS(
:root { color-scheme: light dark; --bg: #ffffff; --fg: #1d2430; --dim: #667085; --line: #d5dae3; --panel: #f5f7fa;
  --pick: #d6336c; --bad: #c92a2a; --low: #e8edf5; --high: #1c4f9c;
  --t0: #4c78a8; --t1: #e0873a; --t2: #54a24b; --t3: #b0478c; --t4: #8c6bb1; --t5: #b79a20; --t6: #2a9d9d; --t7: #9c755f;
  --region: #98a2b3; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #12161d; --fg: #e6eaf0; --dim: #98a2b3; --line: #313a48; --panel: #1a202a; --pick: #ff7aa8; --bad: #ff8787;
    --low: #1e2735; --high: #8ab8ff;
    --t0: #6f9fd0; --t1: #f0a35e; --t2: #78c26f; --t3: #d478b4; --t4: #ab8fd0; --t5: #d6bc4c; --t6: #55c4c4; --t7: #bd9a86;
    --region: #566072; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--fg); font: 14px/1.45 system-ui, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 20px; }
h1 { font-size: 20px; margin: 0 0 2px; overflow-wrap: anywhere; } h2 { font-size: 15px; margin: 22px 0 6px; }
.dim { color: var(--dim); } .bad { color: var(--bad); }
svg { display: block; width: 100%; height: auto; }
.part { cursor: pointer; } .part:hover, .part:focus { stroke: var(--fg); stroke-width: 1.5; outline: none; }
.picked { stroke: var(--pick) !important; stroke-width: 2.5 !important; }
.legend span { display: inline-block; margin-right: 14px; } .legend i { display: inline-block; width: 11px; height: 11px;
  margin-right: 5px; border-radius: 2px; vertical-align: -1px; }
#detail { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: 12px; min-height: 120px; }
pre { font: 12px/1.5 ui-monospace, monospace; margin: 8px 0 0; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: 3px 10px 3px 0; vertical-align: middle;
  border-bottom: 1px solid var(--line); } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
tr.row { cursor: pointer; } tr.row:hover { background: var(--panel); } td svg { width: 120px; height: 22px; }
.name { font-family: ui-monospace, monospace; font-size: 12px; overflow-wrap: anywhere; }
input { font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--line); border-radius: 4px; padding: 4px 8px; }
)CSS";

inline constexpr std::string_view kPageScript = R"JS(
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const NS = 'http://www.w3.org/2000/svg';
const $ = id => document.getElementById(id);
function make(tag, attributes, text) {
  const element = document.createElement(tag);
  for (const key in attributes || {}) element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  return element;
}
function draw(tag, attributes) {
  const element = document.createElementNS(NS, tag);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  return element;
}
const types = [...new Set(data.parts.filter(p => p.tensor).map(p => p.type))];
const colour = p => p.tensor ? 'var(--t' + types.indexOf(p.type) % 8 + ')' : 'var(--region)';
function size(n) {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let u = 0, v = n;
  while (v >= 1024 && u < 4) { v /= 1024; ++u; }
  return u === 0 ? n + ' bytes' : v.toPrecision(3) + ' ' + units[u];
}
const number = v => v === null ? '-' : Math.abs(v) < 1e-3 || Math.abs(v) >= 1e5 ? v.toExponential(2) : v.toPrecision(4);
function histogram(p, width, height) {
  const svg = draw('svg', {viewBox: '0 0 ' + width + ' ' + height, preserveAspectRatio: 'none', role: 'img'});
  const most = Math.max(1, ...p.bins), step = width / p.bins.length;
  p.bins.forEach((n, i) => {
    const h = n === 0 ? 0 : Math.max(1, n / most * height);
    svg.append(draw('rect', {x: i * step, y: height - h, width: step * 0.92, height: h, fill: colour(p)}));
  });
  return svg;
}
let picked = -1;
function pick(i) {
  document.querySelectorAll('.picked').forEach(e => e.classList.remove('picked'));
  document.querySelectorAll('[data-part="' + i + '"]').forEach(e => e.classList.add('picked'));
  picked = i;
  const p = data.parts[i], box = $('detail');
  box.replaceChildren(make('div', {class: 'name'}, p.name));
  let facts = (p.tensor ? p.type + ' ' + p.shape + ', ' : '') + size(p.size) + ' at ' + p.offset + ' (0x' + p.offset.toString(16) + ')';
  if (data.files.length > 1) facts += ' in file ' + (p.file + 1);
  box.append(make('div', {class: 'dim'}, facts));
  if (!p.readable) box.append(make('div', {class: 'bad'}, 'cannot be read'));
  if (p.bins) {
    box.append(make('div', {}, 'min ' + number(p.min) + ', max ' + number(p.max) + ', mean ' + number(p.mean) + ', std ' +
      number(p.std) + (p.not_finite ? ', not finite: ' + p.not_finite : '')));
    box.append(histogram(p, 480, 70));
    box.lastChild.style.maxWidth = '480px';
  } else if (p.tensor) {
    box.append(make('div', {class: 'dim'}, 'no values: ' + p.no_values_reason));
  }
  const lines = [];
  for (let at = 0; at < p.bytes.length; at += 32) {
    const row = p.bytes.slice(at, at + 32).match(/../g) || [];
    const text = row.map(h => { const c = parseInt(h, 16); return c >= 32 && c < 127 ? String.fromCharCode(c) : '.'; }).join('');
    lines.push((p.offset + at / 2).toString(16).padStart(10, '0') + '  ' + row.join(' ').padEnd(48) + '  |' + text + '|');
  }
  if (p.size * 2 > p.bytes.length) lines.push('... ' + (p.size - p.bytes.length / 2) + ' more bytes');
  box.append(make('pre', {id: 'bytes'}, lines.join('\n')));
}
function strips() {
  data.files.forEach((f, index) => {
    const n = f.entropy.length, width = 1200, height = 56;
    const svg = draw('svg', {viewBox: '0 0 ' + width + ' ' + height, class: 'strip', role: 'img', preserveAspectRatio: 'none',
      'shape-rendering': 'crispEdges'});
    svg.append(draw('rect', {x: 0, y: 0, width: width, height: height, fill: 'var(--low)'}));
    f.entropy.forEach((e, i) => {
      const h = e / 8 * height;
      svg.append(draw('rect', {x: i * width / n, y: height - h, width: width / n + 0.3, height: h, fill: 'var(--high)'}));
      if (f.zero[i] > 0.9) svg.append(draw('rect', {x: i * width / n, y: 0, width: width / n + 0.3, height: 5, fill: 'var(--bad)'}));
    });
    data.damage.filter(d => d.file === index).forEach(d => svg.append(draw('rect', {x: d.offset / f.size * width, y: 0,
      width: Math.max(2, d.size / f.size * width), height: height, fill: 'none', stroke: 'var(--bad)', 'stroke-width': 2})));
    $('strips').append(svg);
  });
}
function legend() {
  const box = $('legend');
  types.forEach(t => {
    const span = make('span', {});
    span.append(make('i', {style: 'background:' + colour({tensor: true, type: t})}), t);
    box.append(span);
  });
  const span = make('span', {});
  span.append(make('i', {style: 'background:var(--region)'}), 'header, metadata, padding, other');
  box.append(span);
}
function rows() {
  const body = $('rows');
  data.parts.forEach((p, i) => {
    if (!p.tensor) return;
    const tr = make('tr', {class: 'row', tabindex: 0});
    tr.append(make('td', {class: 'name'}, p.name), make('td', {}, p.type), make('td', {}, p.shape), make('td', {class: 'n'}, size(p.size)),
      make('td', {class: 'n'}, p.bins ? number(p.mean) : '-'), make('td', {class: 'n'}, p.bins ? number(p.std) : '-'));
    const cell = make('td', {});
    if (p.bins) cell.append(histogram(p, 120, 22));
    tr.append(cell);
    tr.addEventListener('click', () => { pick(i); $('detail').scrollIntoView({block: 'nearest'}); });
    tr.addEventListener('keydown', e => { if (e.key === 'Enter') tr.click(); });
    body.append(tr);
  });
  $('filter').addEventListener('input', e => {
    const want = e.target.value.toLowerCase();
    [...body.children].forEach(tr => { tr.hidden = !tr.firstChild.textContent.toLowerCase().includes(want); });
  });
}
function damage() {
  const box = $('damage');
  if (data.damage.length === 0) box.append(make('p', {class: 'dim'}, 'none found by statistics (apr hex --damage)'));
  data.damage.forEach(d => box.append(make('p', {class: 'bad'}, size(d.size) + ' at ' + d.offset + ': ' + d.cause + '. ' + d.evidence)));
}
document.querySelectorAll('.part').forEach(e => {
  e.addEventListener('click', () => pick(Number(e.dataset.part)));
  e.addEventListener('keydown', k => { if (k.key === 'Enter') pick(Number(e.dataset.part)); });
});
legend(); strips(); damage(); rows();
const asked = Number((location.hash.match(/^#part=(\d+)$/) || [])[1]);
if (data.parts.length > 0) pick(Number.isInteger(asked) && asked < data.parts.length ? asked : 0);
document.body.dataset.ready = 'yes';
)JS";

}  // namespace apr::cli
