// What pages cannot say in markup: the visitor's time zone, and charts.
(() => {
  "use strict";
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && !document.cookie.includes(`zone=${encodeURIComponent(zone)}`)) {
    document.cookie = `zone=${encodeURIComponent(zone)}; path=/; max-age=31536000; samesite=lax`;
  }

  const charts = new WeakMap();

  function values(place) {
    const power = JSON.parse(place.dataset.power);
    const energy = JSON.parse(place.dataset.energy);
    const times = [...new Set([...power, ...energy].map(([at]) => at))].sort((a, b) => a - b);
    const column = (series) => {
      const values = new Map(series);
      return times.map((at) => values.get(at) ?? null);
    };
    return [times, column(power), column(energy)];
  }

  function draw(place) {
    const drawn = charts.get(place);
    const data = place.dataset.power + place.dataset.energy;
    if (drawn) {
      if (drawn.data !== data) drawn.chart.setData(values(place));
      drawn.data = data;
      return;
    }
    const probe = document.createElement("span");
    place.append(probe);
    const resolved = (name) => {
      probe.style.color = `var(${name})`;
      return getComputedStyle(probe).color;
    };
    const [ink, line, accent, busy] = ["--ink", "--line", "--accent", "--busy"].map(resolved);
    probe.remove();
    const axis = { stroke: ink, grid: { stroke: line }, ticks: { stroke: line } };
    const chart = new uPlot(
      {
        width: place.clientWidth,
        height: 320,
        scales: { energy: {} },
        series: [
          {},
          { label: place.dataset.powerLabel, stroke: accent, width: 2, spanGaps: true },
          { label: place.dataset.energyLabel, stroke: busy, width: 2, dash: [6, 4], scale: "energy", spanGaps: true },
        ],
        axes: [axis, axis, { ...axis, side: 1, scale: "energy", grid: { show: false } }],
      },
      values(place),
      place,
    );
    charts.set(place, { chart, data });
    new ResizeObserver(() => chart.setSize({ width: place.clientWidth, height: 320 })).observe(place);
  }

  const drawAll = () => window.uPlot && document.querySelectorAll("[data-chart]").forEach(draw);
  drawAll();
  document.addEventListener("htmx:after:swap", drawAll);

  // A slider over the day, beside the field and the steps that do without it.
  function slide(place) {
    const day = Date.parse(place.dataset.day);
    const slider = place.querySelector("input");
    const output = place.querySelector("output");
    const at = () => new Date(day + Number(slider.value) * 60000);
    const say = () => {
      output.textContent = at().toLocaleTimeString(document.documentElement.lang, { timeStyle: "short" });
      slider.setAttribute("aria-valuetext", output.textContent);
    };
    slider.addEventListener("input", say);
    slider.addEventListener("change", () => {
      location.assign(`${place.dataset.address}?at=${encodeURIComponent(at().toISOString())}`);
    });
    say();
    place.hidden = false;
  }

  document.querySelectorAll("[data-day]").forEach(slide);
})();
