"""What a page of HTML does by itself: counting, which needs no browser, drawing, and its looks.

Owns: the texts of the scripts.
Ignores: the facts they work on (`pinlab.whatif.page`).
"""

from typing import Final

__all__ = ["COUNTING", "DRAWING", "STYLE"]

COUNTING: Final = """
function setOf(names) {
  return facts.owners.reduce((set, name, i) => names.includes(name) ? set | 1 << i : set, 0);
}
// Clean and obtainable blocks of one order, if these owners move besides those that Linux moves.
function count(at, movable) {
  const step = 1 << at.order - 9, size = 1 << at.order, n = facts.free.length;
  const isRange = at.order > facts.pageblock_order;
  const moves = setOf(at.moved) | setOf(movable);
  const clean = [new Map(), new Map()], free = new Map();
  for (let first = 0; first < n; first += step) {
    let mask = 0, never = 0, unknown = 0, low = 255, high = 0, cma = 0, frees = 0;
    for (let i = first; i < first + step; i++) {
      if (i >= n) { never += 512; continue; }
      mask |= facts.mask[i]; never += facts.never[i]; unknown += facts.unknown[i];
      low = Math.min(low, facts.low[i]); high = Math.max(high, facts.high[i]);
      cma |= facts.cma[i]; frees += facts.free[i];
    }
    const pool = isRange ? 0 : high;
    free.set(pool, (free.get(pool) || 0) + frees);
    if (never || low !== high || (cma && isRange) || (mask & ~moves)) continue;
    clean[1].set(pool, (clean[1].get(pool) || 0) + 1);
    if (!unknown) clean[0].set(pool, (clean[0].get(pool) || 0) + 1);
  }
  const total = pools => [...pools.values()].reduce((a, b) => a + b, 0);
  let had = 0;
  for (const [pool, blocks] of clean[0])
    had += Math.min(blocks, Math.floor(free.get(pool) / size));
  return {clean_lo: total(clean[0]), clean_hi: total(clean[1]), obtained_lo: had};
}
// One byte per frame, from runs of like ones.
function frames() {
  const bytes = Uint8Array.from(atob(facts.runs), c => c.charCodeAt(0)), found = [];
  for (let i = 0; i < bytes.length;) {
    const code = bytes[i++];
    let length = 0, factor = 1, byte;
    do { byte = bytes[i++]; length += (byte & 127) * factor; factor *= 128; } while (byte & 128);
    found.push([code, length]);
  }
  const codes = new Uint8Array(found.reduce((sum, run) => sum + run[1], 0));
  let at = 0;
  for (const [code, length] of found) { codes.fill(code, at, at + length); at += length; }
  return codes;
}
"""

DRAWING: Final = """
const codes = frames(), $ = id => document.getElementById(id), turned = new Set();
const stuck = facts.owners.filter(name => !facts.orders[0].moved.includes(name));
const perRow = 64, cell = 12, zoom = 18;
function worst(block) {
  const counts = new Array(facts.names.length).fill(0);
  for (let pfn = block * 512; pfn < Math.min((block + 1) * 512, codes.length); pfn++)
    counts[codes[pfn]]++;
  let best = -1;
  counts.forEach((count, code) => {
    const name = facts.names[code];
    if (count && stuck.includes(name) && !turned.has(name) && (best < 0 || count > counts[best]))
      best = code;
  });
  if (best >= 0) return facts.colours[best];
  return facts.colours[counts.indexOf(Math.max(...counts))];
}
function drawMap() {
  const n = facts.free.length, canvas = $('map');
  canvas.width = perRow * cell; canvas.height = Math.ceil(n / perRow) * cell;
  const pen = canvas.getContext('2d');
  for (let i = 0; i < n; i++) {
    pen.fillStyle = worst(i);
    pen.fillRect(i % perRow * cell, Math.floor(i / perRow) * cell, cell - 1, cell - 1);
  }
}
function drawTable() {
  const head = ['order', 'size', 'clean now', 'clean then', 'to be had now', 'to be had then'];
  const range = c => c.clean_lo === c.clean_hi ? c.clean_lo : c.clean_lo + '..' + c.clean_hi;
  const rows = facts.orders.map(at => {
    const before = count(at, []), after = count(at, [...turned]);
    const had = c => facts.says_free ? c.obtained_lo : 'not recorded';
    return [at.order, at.size, range(before), range(after), had(before), had(after)];
  });
  $('orders').replaceChildren(...[head, ...rows].map((row, i) => {
    const line = document.createElement('tr');
    for (const text of row) {
      const box = document.createElement(i ? 'td' : 'th');
      box.textContent = text;
      line.append(box);
    }
    return line;
  }));
}
function marked(colour, text, ...before) {
  const label = document.createElement('label'), mark = document.createElement('span');
  mark.className = 'mark'; mark.style.background = colour;
  label.append(...before, mark, ' ' + text + ' ');
  return label;
}
for (const name of stuck) {
  const box = document.createElement('input');
  box.type = 'checkbox'; box.id = 'moves-' + name;
  box.onchange = () => {
    if (box.checked) turned.add(name); else turned.delete(name);
    drawTable(); drawMap();
  };
  $('switches').append(marked(facts.colours[facts.names.indexOf(name)], name + ' moves', box));
}
const rest = new Map();
new Set(codes).forEach(code => {
  const colour = facts.colours[code], name = facts.names[code];
  if (!stuck.includes(name)) rest.set(colour, [...(rest.get(colour) || []), name]);
});
for (const [colour, names] of rest) $('rest').append(marked(colour, names.join(', ')));
$('legend').textContent = 'A cell is 512 frames. Colour: the owner with the most frames that stay.';
$('map').onclick = event => {
  const block = Math.floor(event.offsetY / cell) * perRow + Math.floor(event.offsetX / cell);
  if (block >= facts.free.length) return;
  $('where').textContent = 'Block ' + block + ', from pfn 0x' + (block * 512).toString(16)
    + (facts.in_order ? '' : ', by owner: too many runs to keep the order of frames');
  const canvas = $('frames'), pen = canvas.getContext('2d');
  canvas.width = 32 * zoom; canvas.height = 16 * zoom;
  for (let i = 0; i < 512 && block * 512 + i < codes.length; i++) {
    pen.fillStyle = facts.colours[codes[block * 512 + i]];
    pen.fillRect(i % 32 * zoom, Math.floor(i / 32) * zoom, zoom - 1, zoom - 1);
  }
  canvas.onmousemove = at => {
    const i = Math.floor(at.offsetY / zoom) * 32 + Math.floor(at.offsetX / zoom);
    const pfn = block * 512 + i;
    if (pfn < codes.length)
      $('frame').textContent = (facts.in_order ? 'pfn 0x' + pfn.toString(16) : 'a frame')
        + ': ' + facts.names[codes[pfn]];
  };
};
drawTable(); drawMap();
"""

STYLE: Final = """
body { font: 16px sans-serif; margin: 2em; color: #22262e }
th, td { text-align: right; padding: .1em 1em }
label { margin-right: 1.2em; white-space: nowrap }
.mark { display: inline-block; width: .9em; height: .9em; margin: 0 .2em;
  outline: 1px solid #c5c9d0 }
canvas { display: block; border: 1px solid #c5c9d0; cursor: crosshair }
h2 { font-size: 1em }
"""
