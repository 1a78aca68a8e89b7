// A page that is kept up to date: what it shows is fetched anew when the stream says that it has changed.
(() => {
  "use strict";
  const main = document.getElementById("main");
  const bar = document.getElementById("live");
  if (!bar || !window.htmx) return;

  const GAP_MS = 1_000; // between two fetches of a tab
  const LATE_MS = 2_500; // what the database keeps is there a little later
  const DOWN_MS = 5_000; // a shorter interruption is not worth a word
  const SILENT_MS = 12_000;
  const SAY_MS = 15_000; // between two announcements
  const HERE_MS = 20_000;
  const badge = document.getElementById("live-state");
  const button = document.getElementById("live-pause");
  const said = document.getElementById("live-said");
  const words = bar.dataset;
  const parts = main.dataset.live.split(" ");

  const stream = { state: "connecting", since: Date.now(), heard: Date.now() };
  let shownAt = Date.now(); // when what is on the screen was read
  let failed = false;
  let fetching = false;
  let due = null; // when to fetch next
  let timer = null;
  let startedAt = Date.now();
  let tookMs = 0;
  let saidAt = 0;
  let shown = "";

  const pausedAt = () => Number(localStorage.getItem("live-paused"));
  const paused = () => pausedAt() > 0;
  const clock = (at) => new Date(at).toLocaleTimeString(document.documentElement.lang);

  function say(text) {
    said.textContent = text;
    saidAt = Date.now();
  }

  // What the badge says; it is "live" only while nothing that changes could be missing from the screen.
  function show() {
    const now = Date.now();
    let { state, since } = stream;
    if (now - stream.heard > SILENT_MS && state !== "ended") [state, since] = ["down", stream.heard];
    if (state === "down" || state === "connecting") state = now - since < DOWN_MS ? "connecting" : "down";
    if (failed) [state, since] = ["down", shownAt];
    if (paused()) [state, since] = ["paused", pausedAt()];
    const tones = { live: "good", connecting: "busy", paused: "plain", down: "bad", ended: "bad" };
    const text = words[state].replace("{at}", clock(Math.max(since, shownAt)));
    badge.className = `badge ${tones[state]}`;
    badge.dataset.state = state;
    if (badge.textContent !== text) badge.textContent = text;
    button.setAttribute("aria-pressed", String(paused()));
    if (state !== shown && state !== "connecting") {
      if (shown) say(text);
      shown = state;
    }
    bar.hidden = false;
  }

  function want(ms) {
    const at = Date.now() + ms;
    due = due === null ? at : Math.min(due, at);
    schedule();
  }

  function schedule() {
    clearTimeout(timer);
    if (due === null || fetching || paused() || document.hidden) return;
    // A page that takes long to make is asked for less often.
    const next = Math.max(due, startedAt + Math.max(GAP_MS, 4 * tookMs));
    timer = setTimeout(fetchNow, Math.max(0, next - Date.now()));
  }

  async function fetchNow() {
    due = null;
    fetching = true;
    startedAt = Date.now();
    const focused = main.contains(document.activeElement);
    const answer = { address: location.pathname + location.search, ok: false, moved: false };
    await htmx
      .ajax("GET", answer.address, { source: main, target: "#main", select: "#main", selectOOB: "#as-of", swap: "outerMorph", answer })
      .catch(() => {});
    tookMs = Date.now() - startedAt;
    fetching = false;
    if (answer.moved) {
      want(0);
    } else {
      failed = !answer.ok;
      if (answer.ok) shownAt = startedAt;
      else want(5_000);
    }
    if (focused && !main.contains(document.activeElement)) main.focus({ preventScroll: true });
    if (answer.ok && Date.now() - saidAt > SAY_MS) say(words.updated.replace("{at}", clock(shownAt)));
    show();
    schedule();
  }

  document.addEventListener("htmx:before:swap", (event) => {
    const { ctx } = event.detail;
    if (!ctx.answer) return;
    ctx.answer.moved = ctx.answer.address !== location.pathname + location.search;
    ctx.answer.ok = ctx.response.status === 200 && !ctx.answer.moved;
    if (!ctx.answer.ok) event.preventDefault();
  });

  function take(message) {
    stream.heard = Date.now();
    if (message.kind === "changed") {
      want(0);
      if (main.dataset.liveLate) setTimeout(() => want(0), LATE_MS);
    } else {
      Object.assign(stream, { state: message.state, since: message.since });
    }
    show();
  }

  // The tab's own stream, or that of all tabs of this sign-in.
  let post = () => {};
  function join(after) {
    if (window.VoltbusStream) {
      window.VoltbusStream.join(0, parts, after, take);
      return;
    }
    post({ parts, after });
  }
  if (!window.VoltbusStream) {
    const url = document.getElementById("stream-worker").src;
    const policy = window.trustedTypes?.createPolicy("voltbus", {
      createScriptURL: (wanted) => (wanted === url ? wanted : ""),
    });
    const worker = new SharedWorker(policy ? policy.createScriptURL(url) : url, { name: bar.dataset.visitor });
    worker.port.onmessage = ({ data }) => take(data);
    post = (message) => worker.port.postMessage(message);
  }
  const leave = () => (window.VoltbusStream ? window.VoltbusStream.leave(0) : post({ leave: true }));

  button.addEventListener("click", () => {
    localStorage.setItem("live-paused", paused() ? "" : String(Date.now()));
    if (!paused()) want(0);
    show();
  });
  window.addEventListener("storage", () => {
    if (!paused()) want(0);
    show();
  });
  document.addEventListener("visibilitychange", () => {
    show();
    schedule();
  });
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    want(0);
    join("");
  });
  setInterval(() => join(""), HERE_MS);
  setInterval(show, 1_000);
  const every = Number(main.dataset.liveEvery || 0);
  if (every) setInterval(() => want(0), every * 1_000);
  join(main.dataset.liveAfter);
  show();
})();
