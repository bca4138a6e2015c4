"use strict";
(() => {
  const errors = [];
  window.addEventListener("error", (e) => errors.push(String(e.message)));
  const D = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);

  // What the data is made of. An edit: [number, ms, reason, job, removed, added, note, gap]; removed
  // and added are flat lists of level, table. A table: [number, first rank, last rank, size,
  // entries, tombstones, lowest seqno, highest seqno].
  const [NUMBER, MS, REASON, JOB, REMOVED, ADDED, NOTE, GAP] = [0, 1, 2, 3, 4, 5, 6, 7];
  const [T_NUMBER, T_LO, T_HI, T_SIZE, T_ENTRIES, T_TOMBS, T_MIN, T_MAX] = [0, 1, 2, 3, 4, 5, 6, 7];
  const REASONS = ["", "create", "flush", "compaction", "move", "ingest", "recovery", "grow", "rollover", "rotate"];
  const { edits, tables, keys } = D;
  const N = edits.length, LEVELS = 7, FRAME_EVERY = 100;

  // ---- The state: which table is in which level, moved by deltas, with keyframes to jump to.
  const levelOf = new Int8Array(tables.length).fill(-1);
  const live = new Set();
  let at = -1;
  const put = (t, level) => { levelOf[t] = level; if (level < 0) live.delete(t); else live.add(t); };
  const forward = (e) => {
    for (let i = 0; i < e[REMOVED].length; i += 2) put(e[REMOVED][i + 1], -1);
    for (let i = 0; i < e[ADDED].length; i += 2) put(e[ADDED][i + 1], e[ADDED][i]);
  };
  const backward = (e) => {
    for (let i = 0; i < e[ADDED].length; i += 2) put(e[ADDED][i + 1], -1);
    for (let i = 0; i < e[REMOVED].length; i += 2) put(e[REMOVED][i + 1], e[REMOVED][i]);
  };
  const snapshot = () => { const s = []; for (const t of live) s.push(t, levelOf[t]); return s; };

  const bytes = new Float64Array(Math.max(N, 1) * LEVELS);
  const born = new Int32Array(tables.length).fill(-1), died = new Int32Array(tables.length).fill(-1);
  const changes = [];
  const frames = [];
  let lanesMax = 1, levelMax = 1, sizeMax = 1, peak = 1;
  const inTree = (e) => e[REMOVED].length + e[ADDED].length > 0;

  function load() {
    const sum = new Float64Array(LEVELS);
    for (const t of tables) sizeMax = Math.max(sizeMax, t[T_SIZE]);
    for (let i = 0; i < N; i++) {
      const e = edits[i], removed = e[REMOVED], added = e[ADDED];
      for (let j = 0; j < removed.length; j += 2) { sum[removed[j]] -= tables[removed[j + 1]][T_SIZE]; died[removed[j + 1]] = i; }
      for (let j = 0; j < added.length; j += 2) {
        const t = added[j + 1];
        sum[added[j]] += tables[t][T_SIZE];
        levelMax = Math.max(levelMax, added[j]);
        if (born[t] < 0) born[t] = i;
        died[t] = -1;
      }
      forward(e);
      let total = 0;
      for (let l = 0; l < LEVELS; l++) { bytes[i * LEVELS + l] = sum[l]; total += sum[l]; }
      peak = Math.max(peak, total);
      if (i % FRAME_EVERY === 0) frames.push(snapshot());
      if (inTree(e)) changes.push(i);
      if (added.length && added[0] === 0) lanesMax = Math.max(lanesMax, lanes(null));
    }
    at = N - 1;
  }

  /** Goes to the state after edit `i`. */
  function seek(i) {
    i = Math.max(0, Math.min(N - 1, i));
    if (N === 0) return;
    if (Math.abs(i - at) > FRAME_EVERY) {
      for (const t of [...live]) put(t, -1);
      const f = Math.floor(i / FRAME_EVERY), frame = frames[f];
      for (let j = 0; j < frame.length; j += 2) put(frame[j], frame[j + 1]);
      at = f * FRAME_EVERY;
    }
    while (at < i) forward(edits[++at]);
    while (at > i) backward(edits[at--]);
  }

  /** How many L0 tables lie above one another; fills `into` with the lane of each, oldest lowest. */
  function lanes(into) {
    const l0 = [];
    for (const t of live) if (levelOf[t] === 0) l0.push(t);
    l0.sort((a, b) => tables[a][T_NUMBER] - tables[b][T_NUMBER]);
    let count = 0;
    const tops = [];
    for (const t of l0) {
      let lane = 0;
      for (let k = tops.length - 1; k >= 0; k--) {
        if (tops[k].some((o) => tables[o][T_LO] <= tables[t][T_HI] && tables[t][T_LO] <= tables[o][T_HI])) { lane = k + 1; break; }
      }
      (tops[lane] ||= []).push(t);
      if (into) into.set(t, lane);
      count = Math.max(count, lane + 1);
    }
    return count;
  }

  // ---- Words.
  const fmtBytes = (n) => {
    if (n < 1024) return n + " B";
    const units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let u = -1;
    do { n /= 1024; u++; } while (n >= 1023.95 && u < 5);
    return n.toFixed(1) + " " + units[u];
  };
  const fmtNumber = (n) => String(n).padStart(6, "0");
  const fmtCount = (n) => String(n).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  const fmtTime = (ms) => { const d = new Date(ms); return isNaN(d) ? ms + " ms" : d.toISOString().replace("T", " ").replace("Z", " UTC"); };
  const some = (n, word) => fmtCount(n) + " " + word + (n === 1 ? "" : "s");
  const sizeOf = (list) => { let s = 0; for (let i = 1; i < list.length; i += 2) s += tables[list[i]][T_SIZE]; return s; };
  const byLevel = (list) => {
    const counts = {};
    for (let i = 0; i < list.length; i += 2) counts[list[i]] = (counts[list[i]] || 0) + 1;
    return Object.keys(counts).map((l) => some(counts[l], "table") + " of L" + l).join(" and ");
  };
  const names = (list, max) => {
    const all = [];
    for (let i = 1; i < list.length && all.length < max; i += 2) all.push(fmtNumber(tables[list[i]][T_NUMBER]));
    return all.join(" ") + (list.length / 2 > max ? " …" : "");
  };
  function caption(e) {
    const inn = e[REMOVED], out = e[ADDED], parts = [];
    if (e[GAP]) parts.push("Edits " + e[GAP][0] + (e[GAP][1] === null ? " and on" : " to " + e[GAP][1]) + " are missing here.");
    switch (REASONS[e[REASON]]) {
      case "move": parts.push(byLevel(inn) + " moved to L" + (out[0] ?? "?") + " as it was: " + names(inn, 6)); break;
      case "compaction":
        parts.push(byLevel(inn) + " (" + fmtBytes(sizeOf(inn)) + ") " + (out.length
          ? "became " + byLevel(out) + " (" + fmtBytes(sizeOf(out)) + ")" : "dissolved: nothing in them was still needed")); break;
      case "flush": parts.push(out.length ? "Memory went to " + byLevel(out) + " (" + fmtBytes(sizeOf(out)) + "): " + names(out, 6) : "Nothing was left to write"); break;
      case "ingest": parts.push(byLevel(out) + " built outside came in (" + fmtBytes(sizeOf(out)) + ")"); break;
      case "create": parts.push("The store begins"); break;
      case "rollover": parts.push("A new manifest begins; the old one is history"); break;
      case "recovery": parts.push("The store was recovered" + (out.length ? ": " + byLevel(out) + " written" : "")); break;
      default: if (inn.length + out.length) parts.push((inn.length ? byLevel(inn) + " went" : "") + (out.length ? " " + byLevel(out) + " came" : ""));
    }
    if (e[NOTE]) parts.push((parts.length ? "· " : "") + e[NOTE]);
    return parts.join(" ");
  }

  // ---- Drawing.
  const canvas = $("tree"), ctx = canvas.getContext("2d");
  const chart = $("chart"), cctx = chart.getContext("2d");
  let W = 0, H = 0, dpr = 1, gutter = 92, css = {}, chartImage = null;
  const COLORS = { flush: "flush", recovery: "flush", compaction: "compaction", move: "compaction", ingest: "ingest" };
  const color = (t) => {
    const e = edits[born[t]];
    return css[(e && !isKnown(t) && COLORS[REASONS[e[REASON]]]) || "other"];
  };
  const isKnown = (t) => { const r = REASONS[edits[born[t]][REASON]]; return r === "rollover" || r === "create"; };

  function theme() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["bg", "panel", "line", "ink", "dim", "flush", "compaction", "ingest", "other", "dead", "glow", "focus", "l0", "l1", "l2", "l3", "l4", "l5", "l6"])
      css[name] = style.getPropertyValue("--" + name).trim();
  }
  function resize() {
    dpr = Math.min(window.devicePixelRatio || 1, 2.5);
    const box = canvas.parentElement.getBoundingClientRect();
    W = Math.max(200, box.width); H = Math.max(160, box.height);
    gutter = W < 640 ? 58 : 96;
    canvas.width = Math.round(W * dpr); canvas.height = Math.round(H * dpr);
    const c = chart.getBoundingClientRect();
    chart.width = Math.round(c.width * dpr); chart.height = Math.round(c.height * dpr);
    chartImage = null;
    theme();
    if (motion) motion.from = before(at);
    draw();
  }
  /** The boxes as they were before edit `i`; the state is then that after it. */
  function before(i) { seek(i - 1); const from = i > 0 ? layout() : new Map(); seek(i); return from; }

  /** Where each level's row lies: top and height. Row -1 is memory. */
  function rows() {
    const count = levelMax + 1, memory = 26, gap = 8, axis = 16;
    const weight = (l) => (l === 0 ? Math.max(1, Math.min(3, lanesMax * 0.45)) : 1);
    let sum = 0;
    for (let l = 0; l < count; l++) sum += weight(l);
    const unit = Math.min(120, (H - memory - axis - gap * (count + 1)) / sum);
    const all = [];
    let y = memory + gap;
    for (let l = 0; l < count; l++) { all.push({ y, h: unit * weight(l) }); y += unit * weight(l) + gap; }
    all.memory = { y: 0, h: memory };
    all.axis = y + 4;
    return all;
  }

  /** The box of each live table: x, y, w, h. */
  function layout() {
    const all = rows(), boxes = new Map(), lane = new Map();
    const laneCount = Math.max(lanes(lane), Math.min(lanesMax, 12)), span = Math.max(1, keys.length);
    const width = W - gutter - 4, unit = width / span;
    for (const t of live) {
      const l = levelOf[t], row = all[l], table = tables[t];
      const x = gutter + table[T_LO] * unit, w = Math.max(2.5, (table[T_HI] - table[T_LO] + 1) * unit - 1.5);
      if (l === 0) {
        const h = row.h / laneCount;
        boxes.set(t, { x, y: row.y + row.h - (lane.get(t) + 1) * h, w, h: Math.max(1.5, h - Math.min(2, h * 0.2)) });
      } else {
        const h = row.h * (0.3 + 0.7 * Math.sqrt(table[T_SIZE] / sizeMax));
        boxes.set(t, { x, y: row.y + row.h - h, w, h });
      }
    }
    return boxes;
  }

  const mix = (a, b, p) => a + (b - a) * p;
  const ease = (p) => p * p * (3 - 2 * p);
  const between = (a, b, p) => ({ x: mix(a.x, b.x, p), y: mix(a.y, b.y, p), w: mix(a.w, b.w, p), h: mix(a.h, b.h, p) });
  function path(b, r) { ctx.beginPath(); ctx.roundRect(b.x, b.y, Math.max(0, b.w), Math.max(0, b.h), Math.max(0, Math.min(r, b.w / 2, b.h / 2))); }
  function box(t, b, alpha, age) {
    const table = tables[t], fade = 1 - 0.62 * Math.min(1, Math.log2(1 + age) / 11);
    ctx.globalAlpha = alpha * fade;
    ctx.fillStyle = color(t);
    path(b, 4); ctx.fill();
    const dead = table[T_ENTRIES] ? table[T_TOMBS] / table[T_ENTRIES] : 0;
    if (dead > 0 && b.h > 5) {
      ctx.globalAlpha = alpha; ctx.fillStyle = css.dead;
      ctx.fillRect(b.x + 1, b.y + b.h - 3, Math.max(1, (b.w - 2) * dead), 2);
    }
    if (b.w > 52 && b.h > 13) {
      ctx.globalAlpha = alpha; ctx.fillStyle = fade > 0.62 ? "#fff" : css.ink;
      ctx.font = "600 11px system-ui, sans-serif"; ctx.textBaseline = "middle"; ctx.textAlign = "center";
      const two = b.h > 32 && b.w > 60;
      ctx.fillText(fmtNumber(table[T_NUMBER]), b.x + b.w / 2, b.y + b.h / 2 - (two ? 6 : 0));
      if (two) { ctx.font = "10.5px system-ui, sans-serif"; ctx.fillText(fmtBytes(table[T_SIZE]), b.x + b.w / 2, b.y + b.h / 2 + 8); }
    }
    ctx.globalAlpha = 1;
  }

  let motion = null; // { from: boxes before, i, p } while an edit is played
  let boxes = new Map(), hovered = -1, pinned = -1;

  function background(all) {
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.clearRect(0, 0, W, H);
    const narrow = gutter < 80;
    ctx.textBaseline = "middle"; ctx.textAlign = "left";
    ctx.fillStyle = css.dim; ctx.font = "12px system-ui, sans-serif";
    ctx.fillText("memory", 2, all.memory.y + all.memory.h / 2);
    ctx.strokeStyle = css.line; ctx.lineWidth = 1.5; ctx.beginPath();
    for (let x = gutter; x <= W - 4; x += 4) ctx.lineTo(x, all.memory.y + all.memory.h / 2 + 2.5 * Math.sin(x / 17));
    ctx.stroke();
    const count = new Int32Array(LEVELS);
    for (const t of live) count[levelOf[t]]++;
    all.forEach((row, l) => {
      ctx.fillStyle = css.panel;
      path({ x: gutter - 6, y: row.y - 3, w: W - gutter + 6, h: row.h + 6 }, 7); ctx.fill();
      ctx.fillStyle = css["l" + l]; path({ x: 2, y: row.y + row.h / 2 - 22, w: 4, h: 44 }, 2); ctx.fill();
      const b = bytes[Math.max(at, 0) * LEVELS + l], middle = row.y + row.h / 2, two = count[l] > 0 && row.h > 44;
      ctx.fillStyle = css.ink; ctx.font = "650 14px system-ui, sans-serif";
      ctx.fillText("L" + l, 12, middle - (two ? 15 : 8));
      ctx.fillStyle = css.dim; ctx.font = "11px system-ui, sans-serif";
      ctx.fillText(count[l] ? (narrow ? fmtCount(count[l]) : some(count[l], "table")) : "empty", 12, middle + (two ? 2 : 9));
      if (two) ctx.fillText(narrow ? fmtBytes(b).replace(" ", "").replace("iB", "") : fmtBytes(b), 12, middle + 16);
    });
  }

  /** A few of the boundary keys, where they lie. */
  function axis(all) {
    if (!keys.length) return;
    const width = W - gutter - 4, unit = width / keys.length, count = Math.max(2, Math.min(6, Math.floor(width / 170)));
    ctx.fillStyle = css.dim; ctx.font = "10.5px ui-monospace, Menlo, Consolas, monospace"; ctx.textBaseline = "middle";
    for (let k = 0; k < count; k++) {
      const i = Math.round(k * (keys.length - 1) / (count - 1)), last = k === count - 1;
      ctx.textAlign = k === 0 ? "left" : last ? "right" : "center";
      const text = keys[i].length > 22 ? keys[i].slice(0, 21) + "…" : keys[i];
      ctx.fillText(text, k === 0 ? gutter : last ? W - 4 : gutter + (i + 0.5) * unit, all.axis + 4);
    }
    ctx.textAlign = "left";
  }

  function draw() {
    const all = rows();
    background(all);
    axis(all);
    boxes = layout();
    const i = Math.max(at, 0), e = edits[i];
    if (motion && motion.p < 1 && e) played(e, all); else {
      motion = null;
      for (const [t, b] of boxes) box(t, b, 1, i - born[t]);
      if (e && !playing) for (let j = 1; j < e[ADDED].length; j += 2) ring(boxes.get(e[ADDED][j]), css.glow, 1.5, 0.9);
    }
    marks();
    drawChart();
  }

  /** A frame of an edit that is being played: inputs glow and flow into the outputs. */
  function played(e, all) {
    const p = motion.p, glow = Math.sin(Math.PI * Math.min(1, p * 1.15)), flow = ease(Math.max(0, (p - 0.3) / 0.7));
    const removed = new Set(), added = new Set();
    for (let j = 1; j < e[REMOVED].length; j += 2) removed.add(e[REMOVED][j]);
    for (let j = 1; j < e[ADDED].length; j += 2) added.add(e[ADDED][j]);
    const outs = [...added].filter((t) => !removed.has(t)), ins = [...removed].filter((t) => !added.has(t));
    for (const [t, b] of boxes) {
      if (outs.includes(t)) continue;
      const from = motion.from.get(t) || b, now = between(from, b, flow);
      box(t, now, 1, at - born[t]);
      if (removed.has(t)) ring(now, css.glow, 2.5, glow);
    }
    const target = outs.length ? all[levelOf[outs[0]]] : null;
    for (const t of ins) {
      const b = motion.from.get(t);
      if (!b) continue;
      if (target) ribbon(b, target, color(t), flow);
      const sunk = target ? { x: b.x, y: mix(b.y, target.y, flow * 0.6), w: b.w, h: b.h } : { x: b.x, y: b.y + b.h * flow / 2, w: b.w, h: b.h * (1 - flow) };
      box(t, sunk, 1 - flow, at - born[t]);
      ring(sunk, css.glow, 2.5, glow * (1 - flow));
    }
    for (const t of outs) {
      const b = boxes.get(t), isNew = ins.length === 0;
      const from = isNew ? { x: b.x, y: all.memory.y + 6, w: b.w, h: 8 } : { x: b.x, y: b.y, w: b.w, h: 0 };
      const now = between(from, b, flow);
      if (isNew) ribbon(from, { y: b.y, h: b.h }, color(t), flow);
      box(t, now, Math.min(1, flow * 1.6), 0);
      ring(now, css.glow, 2, glow * flow);
    }
  }

  function ring(b, stroke, width, alpha) {
    if (!b || alpha <= 0) return;
    ctx.globalAlpha = Math.max(0, Math.min(1, alpha)); ctx.strokeStyle = stroke; ctx.lineWidth = width;
    path({ x: b.x - 1, y: b.y - 1, w: b.w + 2, h: b.h + 2 }, 5); ctx.stroke(); ctx.globalAlpha = 1;
  }
  function ribbon(b, row, fill, flow) {
    const top = b.y + b.h, bottom = row.y + row.h * 0.5, a = 0.3 * Math.sin(Math.PI * flow);
    if (a <= 0.01) return;
    const g = ctx.createLinearGradient(0, top, 0, bottom || top + 1);
    g.addColorStop(0, fill); g.addColorStop(1, css.glow);
    ctx.globalAlpha = a; ctx.fillStyle = g;
    ctx.fillRect(b.x, Math.min(top, bottom), b.w, Math.abs(bottom - top) * flow); ctx.globalAlpha = 1;
  }

  /** Marks the table that is looked at, and those of the next level that it overlaps. */
  function marks() {
    const t = shown();
    if (t < 0 || !boxes.has(t)) { $("tip").hidden = true; return; }
    for (const o of below(t)) ring(boxes.get(o), css.focus, 1.5, 0.55);
    ring(boxes.get(t), css.focus, 2.5, 1);
    tip(t);
  }
  const shown = () => (hovered >= 0 ? hovered : pinned);
  function below(t) {
    const l = levelOf[t] + 1, found = [];
    for (const o of live) if (levelOf[o] === l && tables[o][T_LO] <= tables[t][T_HI] && tables[t][T_LO] <= tables[o][T_HI]) found.push(o);
    return found;
  }

  let tipFor = "";
  function tip(t) {
    const el = $("tip"), table = tables[t], e = edits[born[t]], over = below(t);
    const key = t + "/" + at + "/" + levelOf[t];
    if (tipFor !== key || el.hidden) {
      tipFor = key;
      el.replaceChildren();
      const title = document.createElement("b"), dl = document.createElement("dl");
      title.textContent = "table " + fmtNumber(table[T_NUMBER]) + " in L" + levelOf[t];
      const line = (name, text, mono) => {
        const dt = document.createElement("dt"), dd = document.createElement("dd"), inner = document.createElement(mono ? "code" : "span");
        dt.textContent = name; inner.textContent = text; dd.append(inner); dl.append(dt, dd);
      };
      line("keys", '"' + keys[table[T_LO]] + '" .. "' + keys[table[T_HI]] + '"', true);
      line("size", fmtBytes(table[T_SIZE]) + ", " + some(table[T_ENTRIES], "entry").replace("entrys", "entries") + (table[T_TOMBS] ? ", " + some(table[T_TOMBS], "tombstone") : ""));
      line("seqnos", table[T_MIN] + " .. " + table[T_MAX]);
      if (isKnown(t)) line("made", "before what is left of the history");
      else {
        line("made", "edit " + fmtCount(e[NUMBER]) + ", " + REASONS[e[REASON]] + (e[JOB] ? ", job " + e[JOB] : "") + ", " + fmtTime(e[MS]));
        if (e[REMOVED].length) line("from", names(e[REMOVED], 10));
      }
      if (died[t] >= 0 && died[t] > at) line("dropped", "at edit " + fmtCount(edits[died[t]][NUMBER]) + " by a " + REASONS[edits[died[t]][REASON]]);
      if (levelOf[t] < levelMax) line("overlaps", over.length ? some(over.length, "table") + " of L" + (levelOf[t] + 1) + ", " + fmtBytes(over.reduce((s, o) => s + tables[o][T_SIZE], 0)) : "nothing in L" + (levelOf[t] + 1));
      el.append(title, dl);
      el.hidden = false;
    }
    const b = boxes.get(t), w = el.offsetWidth, h = el.offsetHeight;
    // Above it, so that the next level stays in sight.
    const y = b.y - h - 10 > 0 ? b.y - h - 10 : b.y + b.h + 10 + h < H ? b.y + b.h + 10 : Math.max(0, H - h - 4);
    el.style.left = Math.max(0, Math.min(W - w - 4, b.x + Math.min(b.w, 200) / 2 - w / 3)) + "px";
    el.style.top = y + "px";
  }

  function drawChart() {
    const w = chart.width, h = chart.height;
    if (!w || !h) return;
    if (!chartImage) {
      cctx.clearRect(0, 0, w, h);
      const top = 14 * dpr, cols = Math.floor(w / Math.max(1, Math.round(dpr))), step = w / cols;
      for (let c = 0; c < cols; c++) {
        const lo = Math.floor(c * N / cols), i = Math.min(N - 1, lo);
        let y = h;
        for (let l = LEVELS - 1; l >= 0 && i >= 0; l--) {
          const part = bytes[i * LEVELS + l] / peak * (h - top);
          if (part <= 0) continue;
          cctx.fillStyle = css["l" + l]; cctx.fillRect(c * step, y - part, step + 0.5, part + 0.5); y -= part;
        }
      }
      cctx.fillStyle = css.dim; cctx.font = 11 * dpr + "px system-ui, sans-serif"; cctx.textBaseline = "top";
      cctx.fillText("bytes by level, at most " + fmtBytes(peak), 8 * dpr, 4 * dpr);
      chartImage = cctx.getImageData(0, 0, w, h);
    } else cctx.putImageData(chartImage, 0, 0);
    const x = N > 1 ? (at + 0.5) / N * w : w / 2;
    cctx.fillStyle = css.ink; cctx.globalAlpha = 0.75; cctx.fillRect(x - dpr * 0.75, 0, 1.5 * dpr, h); cctx.globalAlpha = 1;
  }

  function words() {
    const e = edits[at];
    if (!e) { $("story").textContent = "There is no edit."; return; }
    const reason = REASONS[e[REASON]];
    $("edit").textContent = "edit " + fmtCount(e[NUMBER]) + " of " + fmtCount(edits[N - 1][NUMBER]);
    $("time").textContent = fmtTime(e[MS]);
    $("chip").textContent = reason + (e[JOB] ? " · job " + e[JOB] : "");
    $("chip").style.background = css[COLORS[reason] || "other"];
    $("story").textContent = caption(e);
    $("slider").value = at;
    $("slider").setAttribute("aria-valuetext", $("edit").textContent);
  }

  // ---- Playing.
  let playing = false, last = 0, due = 0, rate = 2;
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const following = (i) => {
    if (!$("only").checked) return i + 1;
    let lo = 0, hi = changes.length;
    while (lo < hi) { const m = (lo + hi) >> 1; if (changes[m] > i) hi = m; else lo = m + 1; }
    return lo < changes.length ? changes[lo] : N;
  };
  const preceding = (i) => {
    if (!$("only").checked) return i - 1;
    let lo = 0, hi = changes.length;
    while (lo < hi) { const m = (lo + hi) >> 1; if (changes[m] >= i) hi = m; else lo = m + 1; }
    return lo > 0 ? changes[lo - 1] : 0;
  };
  function show(i) { motion = null; seek(i); words(); draw(); }
  /** One step with its animation; none if there is no further edit. */
  function advance() {
    const i = following(at);
    if (i >= N) return false;
    const from = before(i);
    words();
    motion = calm.matches || rate > 8 ? null : { from, p: 0, ms: Math.min(1100, 900 / Math.max(rate, 0.8) + 150) };
    return true;
  }
  function setPlaying(yes) {
    if (yes && at >= N - 1) show(0);
    playing = yes;
    $("play").setAttribute("aria-label", yes ? "Pause" : "Play");
    $("playshape").setAttribute("d", yes ? "M8 5v14M16 5v14" : "M7 4v16l13-8z");
    due = 0;
    if (yes) wake(); else draw();
  }
  let ticking = false;
  function wake() { if (!ticking) { ticking = true; last = performance.now(); requestAnimationFrame(tick); } }
  function tick(now) {
    const ms = Math.max(0, Math.min(100, now - last)); last = now;
    if (motion) motion.p = Math.min(1, motion.p + ms / motion.ms);
    if (playing) {
      due += ms * rate / 1000;
      let steps = Math.floor(due);
      if (steps > 0) {
        due -= steps;
        let i = at;
        while (--steps > 0) { const next = following(i); if (next >= N) break; i = next; }
        if (i !== at) seek(i);
        if (!advance()) setPlaying(false);
      }
    }
    draw();
    ticking = playing || motion !== null;
    if (ticking) requestAnimationFrame(tick);
  }
  function stepForward() { if (playing) setPlaying(false); if (advance()) wake(); }
  function stepBack() { if (playing) setPlaying(false); show(preceding(at)); }

  // ---- Hands on it.
  function under(x, y) {
    let best = -1, area = Infinity;
    for (const [t, b] of boxes) if (x >= b.x - 1 && x <= b.x + b.w + 1 && y >= b.y && y <= b.y + b.h && b.w * b.h < area) { best = t; area = b.w * b.h; }
    return best;
  }
  function cycle(by) {
    const order = [...boxes.keys()].sort((a, b) => levelOf[a] - levelOf[b] || tables[a][T_LO] - tables[b][T_LO] || a - b);
    if (!order.length) return;
    const i = order.indexOf(pinned);
    hovered = -1;
    pinned = order[(i + by + order.length) % order.length];
    canvas.setAttribute("aria-label", "table " + fmtNumber(tables[pinned][T_NUMBER]) + " in L" + levelOf[pinned]);
    draw();
  }
  const speeds = () => [...$("speed").options].map((o) => Number(o.value));
  function faster(by) {
    const all = speeds(), i = Math.max(0, Math.min(all.length - 1, all.indexOf(rate) + by));
    rate = all[i]; $("speed").value = String(rate);
  }
  canvas.addEventListener("pointermove", (ev) => {
    const t = under(ev.offsetX, ev.offsetY);
    if (t !== hovered) { hovered = t; draw(); }
  });
  canvas.addEventListener("pointerleave", () => { hovered = -1; draw(); });
  canvas.addEventListener("click", (ev) => { const t = under(ev.offsetX, ev.offsetY); pinned = t === pinned ? -1 : t; draw(); });
  const chartSeek = (ev) => { if (ev.buttons & 1) { setPlaying(false); show(Math.floor(ev.offsetX / chart.clientWidth * N)); } };
  chart.addEventListener("pointerdown", chartSeek);
  chart.addEventListener("pointermove", chartSeek);
  $("slider").addEventListener("input", () => { if (playing) setPlaying(false); show(Number($("slider").value)); });
  $("play").addEventListener("click", () => setPlaying(!playing));
  $("next").addEventListener("click", stepForward);
  $("back").addEventListener("click", stepBack);
  $("first").addEventListener("click", () => { setPlaying(false); show(0); });
  $("last").addEventListener("click", () => { setPlaying(false); show(N - 1); });
  $("speed").addEventListener("change", () => { rate = Number($("speed").value); });
  document.addEventListener("keydown", (ev) => {
    if (ev.ctrlKey || ev.metaKey || ev.altKey) return;
    const tag = ev.target.tagName, key = ev.key;
    if (tag === "SELECT" || (tag === "INPUT" && ev.target.type === "checkbox" && key === " ") || (tag === "BUTTON" && (key === " " || key === "Enter"))) return;
    const acts = { " ": () => setPlaying(!playing), ArrowRight: stepForward, ArrowLeft: stepBack, Home: () => show(0), End: () => show(N - 1),
      t: () => cycle(1), T: () => cycle(-1), "+": () => faster(1), "=": () => faster(1), "-": () => faster(-1), Escape: () => { pinned = hovered = -1; draw(); } };
    if (acts[key]) { ev.preventDefault(); acts[key](); }
  });
  window.addEventListener("resize", resize);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", resize);

  // ---- Begin.
  const began = performance.now();
  load();
  $("name").textContent = D.name;
  $("facts").textContent = (D.store ? "store " + D.store + " · " : "") + some(N, "edit") + " · " + some(tables.length, "table") + " in its life" + (D.cut ? " · " + D.cut : "");
  document.title = D.name + ": the life of a tree";
  $("slider").max = Math.max(0, N - 1);
  theme();
  const wish = new URLSearchParams(location.hash.slice(1));
  const asked = edits.findIndex((e) => String(e[NUMBER]) === wish.get("edit"));
  seek(asked >= 0 ? asked : N - 1);
  words();
  resize();
  if (wish.has("phase") && N) {
    motion = { from: before(at), p: Number(wish.get("phase")), ms: 1000 }; draw();
  }
  if (wish.has("table")) { pinned = tables.findIndex((t) => t[T_NUMBER] === Number(wish.get("table"))); draw(); }
  const loaded = performance.now() - began;

  /** For tests: drives the page and says what it saw. */
  window.beach = { errors, seek: show, step: stepForward, back: stepBack, play: setPlaying, state: () => ({ at, live: [...live].length, playing }) };
  if (wish.has("selftest")) selftest(loaded);

  function selftest(loadMs) {
    const wrong = [], check = (ok, what) => { if (!ok) wrong.push(what); };
    const stateNow = () => [...live].map((t) => t + ":" + levelOf[t]).sort().join(" ");
    show(N - 1);
    check(live.size === D.end.tables, "tables at the end: " + live.size + " instead of " + D.end.tables);
    for (let l = 0; l < LEVELS; l++) {
      let sum = 0;
      for (const t of live) if (levelOf[t] === l) sum += tables[t][T_SIZE];
      check(sum === D.end.bytes[l], "bytes of L" + l);
    }
    const marksAt = [0, 1, Math.floor(N / 3), Math.floor(N / 2), N - 1].filter((i) => i >= 0 && i < N);
    const told = marksAt.map((i) => { seek(0); while (at < i) forward(edits[++at]); return stateNow(); });
    for (const from of [0, N - 1, Math.floor(N / 2)]) marksAt.forEach((i, k) => { seek(from); seek(i); check(stateNow() === told[k], "the state after jumping from " + from + " to " + i); });
    let seed = 1;
    const random = (n) => { seed = (seed * 1103515245 + 12345) % 2147483648; return Math.floor(seed / 2147483648 * n); };
    let t0 = performance.now(), slowest = 0;
    const jumps = 300;
    for (let k = 0; k < jumps; k++) { const t1 = performance.now(); show(random(N)); slowest = Math.max(slowest, performance.now() - t1); }
    const jump = (performance.now() - t0) / jumps;
    show(0);
    t0 = performance.now();
    let steps = 0, slowestStep = 0;
    while (steps < 2000) { const t1 = performance.now(); if (!advance()) break; motion && (motion.p = 0.6); draw(); steps++; slowestStep = Math.max(slowestStep, performance.now() - t1); }
    const step = (performance.now() - t0) / Math.max(1, steps);
    $("slider").value = String(Math.floor(N / 2));
    $("slider").dispatchEvent(new Event("input"));
    check(at === Math.min(N - 1, Math.floor(N / 2)), "the slider");
    document.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
    check(N < 3 || at > Math.floor(N / 2) || following(at) >= N, "the arrow key");
    document.dispatchEvent(new KeyboardEvent("keydown", { key: "End" }));
    check(at === N - 1, "the End key");
    const first = [...boxes.keys()][0];
    if (first !== undefined) {
      const b = boxes.get(first);
      const move = new PointerEvent("pointermove", {});
      Object.defineProperties(move, { offsetX: { value: b.x + b.w / 2 }, offsetY: { value: b.y + b.h / 2 } });
      canvas.dispatchEvent(move);
      check(!$("tip").hidden && $("tip").textContent.includes("seqnos"), "the tip of a table");
      canvas.dispatchEvent(new PointerEvent("pointerleave"));
      document.dispatchEvent(new KeyboardEvent("keydown", { key: "t" }));
      check(pinned >= 0 && !$("tip").hidden, "the tip by keyboard");
    }
    // Frames are called by hand: in a browser without a screen nobody promises any.
    rate = 20; show(0); setPlaying(true);
    const start = at;
    let now = last;
    for (let k = 0; k < 30 && playing; k++) tick(now += 50);
    check(changes.length < 2 || at > start, "playing goes on");
    setPlaying(false);
    rate = 2; show(0); stepForward();
    for (let k = 0; k < 40 && motion; k++) tick(now += 50);
    check(motion === null, "a step ends");
    const report = { ok: wrong.length === 0 && errors.length === 0, wrong, errors, edits: N, tables: tables.length, load_ms: +loadMs.toFixed(1), jump_ms: +jump.toFixed(3), slowest_jump_ms: +slowest.toFixed(1), step_ms: +step.toFixed(3), slowest_step_ms: +slowestStep.toFixed(1), steps };
    document.documentElement.dataset.selftest = JSON.stringify(report);
    document.title = report.ok ? "selftest: ok" : "selftest: failed";
  }
})();
