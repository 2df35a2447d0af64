// A run's curves, drawn with uPlot and drawn on while it runs.
import { bounded, short, ticks } from "./figures.js";

const REFRESH = 3000;
const SERIES = ["--series-1", "--series-2", "--series-3", "--series-4"];
const DASHES = [undefined, [6, 4], [2, 3], [10, 4, 2, 4]];
// Between ticks lie whole steps.
const STEPS = [0, 1, 2, 3, 4, 5, 6].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power));

const box = document.querySelector("[data-curves]");
const pictures = new Map();

// The stylesheet's colours, as a canvas takes them: `light-dark()` is only resolved on an element.
function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  box.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

function options(chart, width) {
  const ink = colour("--ink-2");
  const line = colour("--line");
  const font = `12px ${getComputedStyle(box).fontFamily}`;
  const axis = { font, stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  const upright = { ...axis, size: 64, values: (_, splits) => ticks(splits) };
  const along = chart.scattered
    ? { axis: { ...axis, values: (_, splits) => ticks(splits) }, series: { label: chart.along, value: (_, value) => short(value) } }
    : { axis: { ...axis, incrs: STEPS }, series: { label: "Step", value: (_, value) => value ?? "–" } };
  // Numbers of a scale of their own have an axis on the other side.
  const apart = chart.curves.some((curve) => curve.apart)
    ? [{ ...upright, scale: "apart", side: 1, grid: { show: false } }]
    : [];
  return {
    width,
    height: 240,
    scales: { x: { time: false }, y: { range: (_, low, high) => bounded(low, high, uPlot.rangeNum(low ?? 0, high ?? 1, 0.1, true)) } },
    axes: [along.axis, upright, ...apart],
    series: [along.series, ...chart.curves.map((curve, place) => (chart.scattered ? points(curve, place) : curveOf(chart, curve, place)))],
  };
}

function curveOf(chart, curve, place) {
  return {
    label: curve.label,
    stroke: colour(SERIES[place % SERIES.length]),
    width: 2,
    dash: DASHES[place % DASHES.length],
    spanGaps: true,
    points: { show: chart.steps.length < 40 },
    value: (_, value) => short(value),
  };
}

// Points without a line: filled ones, rings, small ones, so that they differ without colour; an alarm is a large ring.
function points(curve, place) {
  const alarm = curve.label === "alarm";
  const stroke = colour(alarm ? "--danger" : SERIES[place % SERIES.length]);
  const look = alarm ? { size: 14, fill: "transparent" } : { size: [7, 9, 5][place % 3], fill: place % 3 === 1 ? "transparent" : stroke };
  return {
    label: curve.label + (curve.apart ? " (right axis)" : ""),
    scale: curve.apart ? "apart" : "y",
    stroke,
    width: 2,
    paths: () => null,
    points: { show: true, stroke, ...look },
    value: (_, value) => short(value),
  };
}

function card(chart) {
  const figure = document.createElement("figure");
  figure.className = "card chart";
  const caption = document.createElement("figcaption");
  caption.className = "h4";
  caption.textContent = chart.title;
  const place = document.createElement("div");
  figure.append(caption, place);
  box.append(figure);
  return place;
}

const dataOf = (chart) => [chart.steps, ...chart.curves.map((curve) => curve.values)];

function draw(chart) {
  const known = pictures.get(chart.title);
  if (known && known.chart.curves.length === chart.curves.length) {
    known.plot.setData(dataOf(chart));
    known.chart = chart;
    showLast(known.plot);
  } else {
    known?.plot.destroy();
    const place = known?.place ?? card(chart);
    pictures.set(chart.title, { place, plot: plotted(chart, place), chart });
  }
}

function plotted(chart, place) {
  const plot = new uPlot(options(chart, place.clientWidth), dataOf(chart), place);
  plot.over.addEventListener("mouseleave", () => showLast(plot));
  showLast(plot);
  return plot;
}

// Without a pointer on it, a picture's legend gives the last figures. uPlot clears it when it has drawn.
function showLast(plot) {
  requestAnimationFrame(() => {
    if (!plot.over.matches(":hover")) plot.setLegend({ idx: plot.data[0].length - 1 });
  });
}

function redraw() {
  for (const picture of pictures.values()) {
    picture.plot.destroy();
    picture.plot = plotted(picture.chart, picture.place);
  }
}

async function refresh() {
  let ended = false;
  try {
    const answer = await fetch(box.dataset.curves, { headers: { Accept: "application/json" } });
    if (answer.ok) {
      const told = await answer.json();
      told.charts.forEach(draw);
      ended = told.ended;
    }
  } catch {
    // No connection for a moment; the next turn tries again.
  }
  if (!ended) setTimeout(refresh, REFRESH);
}

if (box) {
  refresh();
  document.addEventListener("theme-changed", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let width = box.clientWidth;
  new ResizeObserver(() => {
    if (box.clientWidth === width) return;
    width = box.clientWidth;
    redraw();
  }).observe(box);
}
